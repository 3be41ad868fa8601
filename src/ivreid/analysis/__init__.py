"""What is said about results: intervals, breakdown, verification, calibration, comparison, merging, tables."""

from ivreid.analysis.comparisons import Comparisons, compare_results
from ivreid.analysis.feature_files import score_features, score_settings
from ivreid.analysis.full_evaluation import analyse, evaluate_in_full
from ivreid.analysis.grid import FORMS, Grid
from ivreid.analysis.per_query import QueryTable
from ivreid.analysis.result_tables import results_grid
from ivreid.analysis.run_tables import SettingTable, compare_runs

__all__ = [
    "FORMS",
    "Comparisons",
    "Grid",
    "QueryTable",
    "SettingTable",
    "analyse",
    "compare_results",
    "compare_runs",
    "evaluate_in_full",
    "results_grid",
    "score_features",
    "score_settings",
]
