"""One `embed(images, modality)` behind which the network stands."""

from ivreid.inference.attention import explain_pairs
from ivreid.inference.embedder import Embedder
from ivreid.inference.image_inputs import ImageLike
from ivreid.inference.loading import load, weights_file
from ivreid.inference.norm_folding import fold_batch_norms, prepare_for_inference
from ivreid.inference.samples import embed_folder, embed_samples, find_samples, skipped_file
from ivreid.inference.test_time import Flip, flip_of, tta_name
from ivreid.types import UNKNOWN_PID

__all__ = [
    "UNKNOWN_PID",
    "Embedder",
    "Flip",
    "ImageLike",
    "embed_folder",
    "embed_samples",
    "explain_pairs",
    "find_samples",
    "flip_of",
    "fold_batch_norms",
    "load",
    "prepare_for_inference",
    "skipped_file",
    "tta_name",
    "weights_file",
]
