"""What is on disk: one reader per dataset turns folders and lists into splits of samples."""

from ivreid.datasets.base import Dataset, Reader
from ivreid.datasets.check import Count, DatasetReport, check_dataset
from ivreid.datasets.problems import Kind, Problem
from ivreid.datasets.registry import DATASETS, get_reader, hold_out, load_dataset, recognise

__all__ = [
    "DATASETS",
    "Count",
    "Dataset",
    "DatasetReport",
    "Kind",
    "Problem",
    "Reader",
    "check_dataset",
    "get_reader",
    "hold_out",
    "load_dataset",
    "recognise",
]
