"""One run: the loop, its checkpoints and its log."""

from ivreid.training.checkpoint import State, load_state
from ivreid.training.log import read_log
from ivreid.training.loop import Summary, train
from ivreid.training.setup import draw_people
from ivreid.training.signals import TrainingStopped

__all__ = ["State", "Summary", "TrainingStopped", "draw_people", "load_state", "read_log", "train"]
