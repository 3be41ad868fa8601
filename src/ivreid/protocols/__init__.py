"""Who queries, who is gallery, what is excluded, which CMC rule, how many trials."""

from ivreid.catalogue import PROTOCOLS
from ivreid.metrics.distances import METRICS, MatrixProduct
from ivreid.protocols.base import DIRECTIONS, Protocol, Trial
from ivreid.protocols.draws import DRAWS, Permutations
from ivreid.protocols.evaluator import evaluate, split_fingerprint, summarise
from ivreid.protocols.in_memory import score
from ivreid.protocols.registry import every_setting, get_protocol, make_protocol, register_protocol
from ivreid.protocols.result import FIGURES, SYNTHETIC_MARK, Result, TrialResult, plainest
from ivreid.protocols.result_io import RESULTS, read_results, write_results
from ivreid.protocols.trials import Precision, TrialOutcomes, run_trials

__all__ = [
    "DIRECTIONS",
    "DRAWS",
    "FIGURES",
    "METRICS",
    "PROTOCOLS",
    "RESULTS",
    "SYNTHETIC_MARK",
    "MatrixProduct",
    "Permutations",
    "Precision",
    "Protocol",
    "Result",
    "Trial",
    "TrialOutcomes",
    "TrialResult",
    "evaluate",
    "every_setting",
    "get_protocol",
    "make_protocol",
    "plainest",
    "read_results",
    "register_protocol",
    "run_trials",
    "score",
    "split_fingerprint",
    "summarise",
    "write_results",
]
