"""One run: the loop, its checkpoints and its log."""

from ivreid.training.checkpoint import TrainingState, load_state
from ivreid.training.log import read_log
from ivreid.training.run import Summary, train
from ivreid.training.setup import draw_people
from ivreid.training.signals import TrainingStopped

__all__ = ["Summary", "TrainingState", "TrainingStopped", "draw_people", "load_state", "read_log", "train"]
