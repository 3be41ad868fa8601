"""From pictures as people have them to a table and a configuration: what names tell is said, what they leave open is asked."""

from ivreid.owndata.answers import Answers, Ask, Question
from ivreid.owndata.initialise import InitSummary, init_dataset

__all__ = ["Answers", "Ask", "InitSummary", "Question", "init_dataset"]
