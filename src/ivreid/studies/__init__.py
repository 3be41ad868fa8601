"""Several runs as one: splits, seeds, hyper-parameter search."""

from ivreid.studies.search_space import Choices, Range
from ivreid.studies.study import run_study
from ivreid.studies.tuning import tune
from ivreid.studies.tuning_result import TuningResult

__all__ = ["Choices", "Range", "TuningResult", "run_study", "tune"]
