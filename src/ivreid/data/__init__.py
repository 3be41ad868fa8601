"""The training data path: settings, samplers, decoded-image cache, augmentation, loaders."""

from ivreid.data.augment import Augmented, Augmenter
from ivreid.data.cache import CacheKey, ImageCache, build_cache, default_cache_folder, open_cache
from ivreid.data.cache_folder import CacheEntry, clean_caches, list_caches
from ivreid.data.loader import Batch, TrainingSet, TrainLoader, open_training_set
from ivreid.data.pixels import decode, exchange_channels, normalise, resize, to_tensor
from ivreid.data.planning import BatchSampler, EpochPlan, check_world_size
from ivreid.data.sampler import (
    AnyModalityBatchSampler,
    CrossModalityBatchSampler,
    PairedBatchSampler,
    RandomBatchSampler,
    UniformBatchSampler,
    make_sampler,
)
from ivreid.data.settings import AugmentSettings, BatchSettings, Preprocessing, Views, ViewSettings
from ivreid.data.source import (
    DecodedImages,
    ImageSource,
    find_unreadable,
    measure_value_range,
    open_images,
    select,
)
from ivreid.data.workers import prefetch, usable_workers
from ivreid.machine import available_cores

__all__ = [
    "AnyModalityBatchSampler",
    "AugmentSettings",
    "Augmented",
    "Augmenter",
    "Batch",
    "BatchSampler",
    "BatchSettings",
    "CacheEntry",
    "CacheKey",
    "CrossModalityBatchSampler",
    "DecodedImages",
    "EpochPlan",
    "ImageCache",
    "ImageSource",
    "PairedBatchSampler",
    "Preprocessing",
    "RandomBatchSampler",
    "TrainLoader",
    "TrainingSet",
    "UniformBatchSampler",
    "ViewSettings",
    "Views",
    "available_cores",
    "build_cache",
    "check_world_size",
    "clean_caches",
    "decode",
    "default_cache_folder",
    "exchange_channels",
    "find_unreadable",
    "list_caches",
    "make_sampler",
    "measure_value_range",
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
