"""A trained model on its dataset: embedding a split, the leak guard, validation, results of a run."""

from ivreid.evaluation.evaluate_model import configured_settings, evaluate_run
from ivreid.evaluation.run_folder import RunFolder
from ivreid.evaluation.saved_results import ResultsNotSaved
from ivreid.evaluation.stored_calibration import StoredCalibration, calibrate

__all__ = [
    "ResultsNotSaved",
    "RunFolder",
    "StoredCalibration",
    "calibrate",
    "configured_settings",
    "evaluate_run",
]
