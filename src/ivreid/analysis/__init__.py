"""What is said about results: intervals, breakdown, verification, calibration, comparison, merging."""

from ivreid.analysis.full import analyse, evaluate_in_full

__all__ = ["analyse", "evaluate_in_full"]
