"""One `embed(images, modality)` behind which the network stands."""

from ivreid.inference.embedder import Embedder
from ivreid.inference.fold import fold_batch_norms, ready
from ivreid.inference.given import ImageLike
from ivreid.inference.loading import load, weights_file
from ivreid.inference.samples import embed_folder, embed_samples, find_samples
from ivreid.types import UNKNOWN_PID

__all__ = [
    "UNKNOWN_PID",
    "Embedder",
    "ImageLike",
    "embed_folder",
    "embed_samples",
    "find_samples",
    "fold_batch_norms",
    "load",
    "ready",
    "weights_file",
]
