"""Whether weights have seen the people they are to be tested on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ivreid.datasets import DATASETS, Dataset
from ivreid.datasets.seen_pictures import seen_among
from ivreid.errors import ProtocolError

DIVIDED = "divided"
"""The key of a card's `dataset` that is true where the people to test on were drawn for the training."""


def unseen_people(card: Mapping[str, Any], dataset: Dataset) -> Dataset:
    """Of people whom the training itself divided those to test on: all whom the weights have not seen.

    People added since are among them. In other pictures, where the same number may be another person, and in a dataset
    that says itself who is tested on, everything stays.
    """
    trained_on = card.get("dataset") or {}
    if not trained_on.get(DIVIDED) or trained_on.get("name") != dataset.name or "train" in dataset.splits:
        return dataset
    samples = dataset.split("test")
    same = trained_on.get("fingerprint") == dataset.fingerprint
    if not same and not seen_among(dataset.root, samples, card.get("seen_pictures") or ()):
        return dataset
    seen = _seen(card)
    rest = tuple(sample for sample in samples if sample.pid not in seen)
    return replace(dataset, splits={**dataset.splits, "test": rest}) if rest else dataset


def leak_notes(card: Mapping[str, Any], dataset: Dataset, *, allow_leak: bool = False) -> list[str]:
    """Refuse a test on identities that weights were trained on or selected on.

    Identity numbers are compared where they mean the same people: in a dataset of the same name, or, for a folder
    or table of one's own, in the very same files. The contents of pictures are compared everywhere, so the same
    pictures under another layout or name are known, too.

    Args:
        card: The weights' card.
        dataset: The images to test on, split "test".
        allow_leak: Say it in a note instead of refusing.

    Returns:
        Notes for the results: that a leak was allowed, or that none can be ruled out.

    Raises:
        ProtocolError: There is a leak, and `allow_leak` is not set.
    """
    trained_on = card.get("dataset") or {}
    if not trained_on.get("name"):
        return [_unknown(dataset)]
    if not _same_people(trained_on, dataset):
        return _picture_notes(card, dataset, allow_leak)
    test = set(dataset.pids("test"))
    shared = _seen(card) & test
    own_trial = trained_on.get("trial")
    if not shared and own_trial == dataset.trial:
        return _picture_notes(card, dataset, allow_leak) if card.get("train_pids") else [_unknown(dataset)]
    whose, fix = "", "test it on identities it has not seen"
    if own_trial != dataset.trial:
        whose = f" (it was trained on trial {own_trial}, this is trial {dataset.trial})"
        fix = f"test it on its own split with --trial {own_trial}"
    what = f"{len(shared)} of the {len(test)} test identities" if shared else "test identities"
    if not allow_leak:
        raise ProtocolError(
            f"the model has seen {what} of {dataset.name} at {dataset.root} in training{whose}, so the "
            f"figures would mean nothing; {fix}, or study the leak with --allow-leak, which marks the result"
        )
    return [f"LEAK: the model has seen {what} in training{whose}; these figures are no test"]


def _picture_notes(card: Mapping[str, Any], dataset: Dataset, allow_leak: bool) -> list[str]:
    """Refuse, or note, test pictures that were trained on under another name or identity number."""
    test = dataset.split("test")
    found = seen_among(dataset.root, test, card.get("seen_pictures") or ())
    if not found:
        return []
    people = len({sample.pid for sample in found})
    name = (card.get("dataset") or {}).get("name")
    what = (
        f"at least {len(found)} of the {len(test)} test pictures, of {people} people (first: {found[0].path}; in "
        f"training it lay in {name} under another name or number)"
    )
    if not allow_leak:
        raise ProtocolError(
            f"the model has seen {what}, so the figures of {dataset.name} at {dataset.root} would mean nothing; test "
            "it on other people, or study the leak with --allow-leak, which marks the result"
        )
    return [f"LEAK: the model has seen {what}; these figures are no test"]


def _same_people(trained_on: Mapping[str, Any], dataset: Dataset) -> bool:
    if trained_on.get("fingerprint") == dataset.fingerprint:
        return True
    if trained_on.get("name") != dataset.name:
        return False
    return dataset.name not in DATASETS or not DATASETS[dataset.name].own_numbers


def _seen(card: Mapping[str, Any]) -> set[int]:
    return {*(card.get("train_pids") or ()), *((card.get("selection") or {}).get("pids") or ())}


def _unknown(dataset: Dataset) -> str:
    trial = "" if dataset.trial is None else f", trial {dataset.trial}"
    return (
        "the weights do not say which identities they were trained on: "
        f"whether they have seen those of this test set ({dataset.name}{trial}) cannot be checked"
    )
