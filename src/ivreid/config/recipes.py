"""Recipes: the published settings of a method as the layer between the built-in defaults and a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ivreid.config.sources import Sources
from ivreid.datasets import DATASETS
from ivreid.errors import ConfigError, did_you_mean
from ivreid.methods import METHODS, Method
from ivreid.methods.recipe import merged

PUBLISHED = "-published"
"""What a recipe's name ends with where the published program is repeated, with its quirks and selection."""

COMPACT = "-compact"
"""What a recipe's name ends with where a compact network learns from random weights in minutes, as in the demo."""

REPLACED = (
    "method",
    "batch",
    "augment",
    "optimizer",
    "schedule",
    "epochs",
    "precision",
    "embedding",
    "ema",
    "clip",
)
REPLACED_DATA = ("size", "resize")
"""Keys of a file that a recipe of the command line takes the place of; `REPLACED_DATA` stand under `data`."""


COMPACT_SETTINGS: Mapping[str, Any] = {
    "epochs": 24,
    "data": {"size": [96, 48]},
    "augment": {"padding": 5},
    "method": {"pretrained": None},
    "precision": "auto",
}
"""What all compact twins share; a method's own batch, augmentation and losses stay."""

COMPACT_SECTIONS: Mapping[str, Any] = {
    "optimizer": {"name": "adamw", "lr": 0.003, "weight_decay": 0.01},
    "schedule": {"name": "cosine", "warmup": 1},
}
"""Of these nothing of the published settings stays: they are for trained weights and for nights."""

COMPACT_CNN, COMPACT_VIT = "resnet10t", "vit_tiny_patch16_224"
"""Backbones of like cost at that size: 0.11 and 0.10 GMAC an image."""


def recipe_names() -> tuple[str, ...]:
    """Every recipe: each method's, its twin that repeats a published program, where there is one, and its compact twin."""
    return tuple(
        name + end
        for name, kind in METHODS.items()
        if kind.recipe
        for end in ("", PUBLISHED, COMPACT)
        if end != PUBLISHED or has_published_twin(kind)
    )


def has_published_twin(kind: type[Method]) -> bool:
    """Whether anything was published that `NAME-published` could repeat."""
    return kind.publication is not None and bool(kind.publication.figures)


def apply_recipe(tree: Mapping[str, Any], source: Sources) -> tuple[dict[str, Any], str | None]:
    """Put the recipe that a configuration names below its own values.

    Args:
        tree: A configuration as read from a file.
        source: Where it comes from, for messages.

    Returns:
        The configuration, and what its reader should know: that the settings were published for other
        datasets.

    Raises:
        ConfigError: An unknown recipe, or another method than the recipe's.
    """
    name = tree.get("recipe")
    if name is None:
        return dict(tree), None
    kind = _method_of(name, source)
    data = tree.get("data")
    dataset = (data.get("dataset") if isinstance(data, Mapping) else None) or "sysu-mm01"
    method = tree.get("method")
    named = method.get("name", kind.name) if isinstance(method, Mapping) else kind.name
    if named != kind.name:
        said = f"recipe {name} is of method {kind.name}, but method.name is {named}; leave one out"
        raise ConfigError(f"{source.at('', said)}: {said}")
    recipe = kind.recipe
    if recipe is None:
        raise ConfigError(f"{source.at('recipe')}: method {kind.name} has no recipe")
    below = merged(recipe.on(str(dataset)), {"method": {"name": kind.name}})
    vit = isinstance(method, Mapping) and str(method.get("backbone")).startswith("vit_")
    if vit and not name.endswith(COMPACT):
        below = merged(below, recipe.transformer)
    if name.endswith(PUBLISHED):
        below = merged(merged(below, _published(kind, str(dataset))), recipe.published)
        below = merged(below, recipe.published_on.get(str(dataset), {}))
    if name.endswith(COMPACT):
        below = {**merged(below, COMPACT_SETTINGS), **COMPACT_SECTIONS}
        below = merged(merged(below, {"method": {"backbone": _compact_backbone(kind)}}), recipe.compact)
    note = None
    if recipe.nearest(str(dataset)) not in (dataset, None):
        note = (
            f"recipe {name}: its authors published no settings for {dataset}; those for "
            f"{recipe.nearest(str(dataset))} are taken"
        )
    return merged(below, tree), note


def with_command_line_recipe(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A file's values without those that a recipe of the command line replaces.

    One that repeats the published program (`NAME-published`) brings its choice of weights and of training
    identities, too.
    """
    replaced, replaced_data = _replaced(name)
    left = {key: value for key, value in tree.items() if key not in replaced}
    if isinstance(left.get("data"), Mapping):
        left["data"] = {key: value for key, value in left["data"].items() if key not in replaced_data}
    return {**left, "recipe": name}


def replaced_by(tree: Mapping[str, Any], name: str) -> list[str]:
    """The keys of a file that a recipe of the command line takes the place of, in the file's order."""
    replaced, replaced_data = _replaced(name)
    found = [key for key in tree if key in (*replaced, "recipe")]
    data = tree.get("data")
    return (
        found + [f"data.{key}" for key in data if key in replaced_data]
        if isinstance(data, Mapping)
        else found
    )


def _replaced(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys that give way to a recipe, at the top and under `data`."""
    if name.endswith(PUBLISHED):
        return (*REPLACED, "validation"), (*REPLACED_DATA, "train_on")
    return REPLACED, REPLACED_DATA


def _method_of(name: Any, source: Sources) -> type[Method]:
    method = str(name).removesuffix(PUBLISHED).removesuffix(COMPACT)
    kind: type[Method] | None = METHODS.get(method)
    if not isinstance(name, str) or kind is None or not kind.recipe:
        raise ConfigError(
            f"{source.at('recipe')}: unknown recipe {name!r}; {did_you_mean(str(name), recipe_names())}"
        )
    if name.endswith(PUBLISHED) and not has_published_twin(kind):
        raise ConfigError(
            f"{source.at('recipe')}: no figures of {method} were published, so there is no {name}; take {method}, with "
            "validation.select=published-test where the epoch shall be chosen on the TEST identities"
        )
    return kind


def _compact_backbone(kind: type[Method]) -> str:
    backbone = kind.Settings.model_fields.get("backbone")
    return COMPACT_VIT if backbone and str(backbone.default).startswith("vit_") else COMPACT_CNN


def _published(kind: type[Method], dataset: str) -> dict[str, Any]:
    """What the published program does besides: its quirks, and its choice of weights on the test identities.

    The weights are chosen on the gallery and the split that the published figures are of.
    """
    quirks = {"published_quirks": True} if "published_quirks" in kind.Settings.model_fields else {}
    both = dataset in DATASETS and DATASETS[dataset].has_validation  # published runs train on all they may
    figures = [one for one in kind.publication.figures if one.dataset == dataset] if kind.publication else []
    draw = next((one.draw for one in figures if one.draw), None)
    splits = {one.split for one in figures}
    return {
        "method": quirks,
        "data": {
            "train_on": "train+val" if both else "train",
            **({"trial": splits.pop()} if len(splits) == 1 else {}),
        },
        "validation": {"select": "published-test", **({"setting": {"draw": draw}} if draw else {})},
    }
