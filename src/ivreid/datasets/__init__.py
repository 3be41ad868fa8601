"""What is on disk: one reader per dataset turns folders and lists into splits of samples."""

from ivreid.catalogue import DATASETS
from ivreid.datasets.base import Dataset, DatasetScan, Reader, number_frames
from ivreid.datasets.check import Count, DatasetReport, check_dataset
from ivreid.datasets.problems import Kind, Problem
from ivreid.datasets.registry import (
    divide_people,
    get_reader,
    hold_out,
    load_dataset,
    recognise,
    recognise_data,
    register_dataset,
)
from ivreid.datasets.tree import Tree

__all__ = [
    "DATASETS",
    "Count",
    "Dataset",
    "DatasetReport",
    "DatasetScan",
    "Kind",
    "Problem",
    "Reader",
    "Tree",
    "check_dataset",
    "divide_people",
    "get_reader",
    "hold_out",
    "load_dataset",
    "number_frames",
    "recognise",
    "recognise_data",
    "register_dataset",
]
