"""The training data path: settings, samplers, decoded-image cache, augmentation, loaders."""

from ivreid.data.augment import Augmenter
from ivreid.data.cache import CacheKey, ImageCache, build_cache, default_cache_folder, open_cache
from ivreid.data.images import decode, normalise, resize, to_tensor
from ivreid.data.loader import Batch, TrainingSet, TrainLoader, open_training_set
from ivreid.data.sampler import (
    BatchSampler,
    CrossModalityBatchSampler,
    Plan,
    RandomBatchSampler,
    make_sampler,
)
from ivreid.data.settings import AugmentSettings, BatchSettings, Preprocessing
from ivreid.data.source import DecodedImages, ImageSource, find_unreadable, open_images, select
from ivreid.data.workers import prefetch, usable_workers
from ivreid.machine import available_cores

__all__ = [
    "AugmentSettings",
    "Augmenter",
    "Batch",
    "BatchSampler",
    "BatchSettings",
    "CacheKey",
    "CrossModalityBatchSampler",
    "DecodedImages",
    "ImageCache",
    "ImageSource",
    "Plan",
    "Preprocessing",
    "RandomBatchSampler",
    "TrainLoader",
    "TrainingSet",
    "available_cores",
    "build_cache",
    "decode",
    "default_cache_folder",
    "find_unreadable",
    "make_sampler",
    "normalise",
    "open_cache",
    "open_images",
    "open_training_set",
    "prefetch",
    "resize",
    "select",
    "to_tensor",
    "usable_workers",
]
