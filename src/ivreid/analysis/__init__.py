"""What is said about results: intervals, breakdown, verification, calibration, comparison, merging."""

from ivreid.analysis.comparisons import Comparisons, compare_results
from ivreid.analysis.feature_files import score_features
from ivreid.analysis.full_evaluation import analyse, evaluate_in_full

__all__ = ["Comparisons", "analyse", "compare_results", "evaluate_in_full", "score_features"]
