"""A method's published figures beside those that its checkpoint, or a training by its recipe, reaches here."""

from ivreid.reproduction.outcome import TEST_IDENTITIES, Compared, Reproduction
from ivreid.reproduction.run import reproduce

__all__ = ["TEST_IDENTITIES", "Compared", "Reproduction", "reproduce"]
