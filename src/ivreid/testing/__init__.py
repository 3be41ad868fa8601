"""The tests that every method and every dataset must pass, for ours and for yours: one call each."""

from ivreid.testing.broken import BrokenContract
from ivreid.testing.dataset_contract import check_dataset
from ivreid.testing.method_contract import check_method

__all__ = ["BrokenContract", "check_dataset", "check_method"]
