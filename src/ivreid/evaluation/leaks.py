"""Whether weights have seen the people they are to be tested on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ivreid.datasets import DATASETS, Dataset
from ivreid.errors import ProtocolError


def leak_notes(card: Mapping[str, Any], dataset: Dataset, *, allow_leak: bool = False) -> list[str]:
    """Refuse a test on identities that weights were trained on or selected on.

    Identity numbers are compared where they mean the same people: in a dataset of the same name, or, for a
        folder or
    table of one's own, in the very same files.

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
        return []
    test = set(dataset.pids("test"))
    shared = _seen(card) & test
    own_trial = trained_on.get("trial")
    if not shared and own_trial == dataset.trial:
        return [] if card.get("train_pids") else [_unknown(dataset)]
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
