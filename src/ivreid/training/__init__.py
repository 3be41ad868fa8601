"""Training: the loop, its configuration, checkpoints and logs; and the evaluation of what it made."""

from ivreid.training.checkpoint import State, load_state
from ivreid.training.config import Config
from ivreid.training.evaluation import evaluate_run
from ivreid.training.load import dump_config, load_config, make_config
from ivreid.training.log import read_log
from ivreid.training.loop import Summary, train
from ivreid.training.setup import draw_people
from ivreid.training.signals import TrainingStopped

__all__ = [
    "Config",
    "State",
    "Summary",
    "TrainingStopped",
    "draw_people",
    "dump_config",
    "evaluate_run",
    "load_config",
    "load_state",
    "make_config",
    "read_log",
    "train",
]
