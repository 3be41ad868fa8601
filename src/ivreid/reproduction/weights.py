"""Weights to be tested, and what their card says of how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ivreid.config import load_config
from ivreid.config.parse import differences
from ivreid.config.recipes import PUBLISHED
from ivreid.errors import CheckpointError
from ivreid.inference import weights_file
from ivreid.io import file_hash
from ivreid.methods import Method
from ivreid.methods.checkpoint_import import import_checkpoint
from ivreid.methods.recipe import merged
from ivreid.models.weights import read_card


def weights_to_test(
    path: Path, kind: type[Method], dataset: str, folder: Path
) -> tuple[Path, dict[str, Any]]:
    """The weights: those given, if they are ours, or the authors' checkpoint imported; and what is told of them.

    Raises:
        CheckpointError: They cannot be read, or are of another method.
    """
    card: Mapping[str, Any] | None = None
    if path.is_dir() or path.suffix == ".safetensors":
        try:
            path = weights_file(path)
            card = read_card(path)
        except CheckpointError:
            if path.is_dir() or not path.is_file():
                raise
    made = {"checkpoint": path.name, "sha256_16": file_hash(path)} if path.is_file() else {}
    if card is None or "method" not in card:
        weights = folder / "weights.safetensors"
        imported = import_checkpoint(path, weights, kind.name, dataset=dataset)
        return weights, {**made, "ignored_tensors": len(imported.ignored)}
    if card["method"] != kind.name:
        raise CheckpointError(
            f"{path} is of the method {card['method']}, not of {kind.name}: ivreid reproduce {card['method']}"
        )
    if card.get("source"):  # what `ivreid import` wrote: the authors trained it
        return path, {**made, "imported_from": dict(card["source"])}
    return path, {
        **made,
        "selected_on": (card.get("selection") or {}).get("on", "not known"),
        "trained_on": dict(card.get("dataset") or {}),
        "identities": len(card.get("train_pids") or ()) or card["num_classes"],
        "published_quirks": card["settings"].get("published_quirks"),
        "not_as_published": not_as_published(card, kind, dataset),
    }


def not_as_published(card: Mapping[str, Any], kind: type[Method], dataset: str) -> list[dict[str, Any]]:
    """The settings of the network and the preparation of its images that are not the published ones.

    Only what the card says is compared: the training's length, batch and rates do not stand there.

    Returns:
        For each its key in a configuration, and both values.
    """
    if kind.recipe is None:
        return []
    config = load_config(None, [("data.dataset", dataset)], recipe=kind.name + PUBLISHED)
    published = {
        "method": {key: value for key, value in config.method.items() if key != "name"},
        "data": config.data.preprocessing.model_dump(mode="json"),
    }
    if published["method"].get("pretrained"):  # as on a card: a name, no folder
        published["method"]["pretrained"] = Path(published["method"]["pretrained"]).name
    ours = merged(published, {"method": card["settings"], "data": card.get("preprocessing") or {}})
    return [
        {"key": key, "ours": own, "published": theirs} for key, theirs, own in differences(published, ours)
    ]


def what_the_card_says(made: Mapping[str, Any], dataset: str, fingerprint: str) -> list[str]:
    """How weights of ours were trained, for people; that they were trained on another dataset comes first.

    Args:
        made: From `weights_to_test`.
        dataset: What they are tested on.
        fingerprint: Of its images.
    """
    trained, out = made["trained_on"], []
    name = trained.get("name")
    identities = f"{made['identities']} identities"
    if name is None:
        where = f"{identities}, their card does not say of which dataset"
    else:
        split = f", split {trained['trial']}" if trained.get("trial") else ""
        drawn = ", SYNTHETIC people" if trained.get("synthetic") else ""
        where = f"{identities} of {name}{split}{drawn}"
        if name != dataset:
            out.append(
                f"these weights were trained on {name.upper()}, NOT on {dataset}: their figures say how they do on images of "
                "other cameras, and do not compare with the published ones"
            )
        elif trained.get("fingerprint") not in (None, fingerprint):
            where += (
                f", of other images than these (fingerprint {trained['fingerprint']}, here {fingerprint})"
            )
    out.append(f"weights of ours, selected on: {made['selected_on']}; trained on {where}")
    if made["published_quirks"] is not None:
        out.append(
            f"trained {'with' if made['published_quirks'] else 'without'} the quirks of the published program"
        )
    changed = [
        f"{one['key']} {one['ours']} (published: {one['published']})"
        for one in made["not_as_published"]
        if one["key"] != "method.published_quirks"
    ]
    told = f"not as published: {', '.join(changed)}" if changed else "network and image size are as published"
    out.append(f"{told}; epochs, batch and rates of the training do not stand on the card")
    return out
