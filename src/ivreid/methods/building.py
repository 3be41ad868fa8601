"""Building a method by its name, and again from its weights."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from ivreid.catalogue import METHODS, asked_for
from ivreid.data.settings import Preprocessing
from ivreid.errors import CheckpointError, ConfigError, UsageError, did_you_mean
from ivreid.methods.base import Method, MethodSettings
from ivreid.models import read_weights
from ivreid.reading import clean

DEFAULT_SIZE = Preprocessing().size
"""Height and width of the images where nothing says them."""

FREE_BYTES = 512 << 20
"""Memory that any file may ask for."""


def get_method(name: str) -> type[Method]:
    """The method of that name.

    Raises:
        UsageError: Unknown; the message names the closest ones.
    """
    method: type[Method] = METHODS.find(name)
    return method


def register_method(cls: type[Method]) -> type[Method]:
    """A decorator that makes a method of your own known by its `name`, everywhere in this process.

    See docs/methods.md. The command line takes the file with `--plugin FILE.py`; an installed package names
    its class under the entry points `ivreid.methods` instead.

    Raises:
        UsageError: The name is taken, or the class lacks something; the message says what.
    """
    METHODS.register(cls)
    return cls


def parse_settings(name: str, settings: Mapping[str, Any]) -> MethodSettings:
    """A method's checked options.

    Raises:
        UsageError: The method is unknown.
        ConfigError: An option is unknown or has a wrong value; all are reported together.
    """
    kind = get_method(name).Settings
    try:
        return kind.model_validate(dict(settings))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                lines.append(f"{key}: unknown; {did_you_mean(key, kind.model_fields)}")
            else:
                lines.append(f"{key}: {problem['msg']}, not {clean(repr(problem['input']))}")
        raise ConfigError(f"settings of method {name!r}: " + "; ".join(lines)) from error


def build(
    name: str,
    settings: Mapping[str, Any],
    num_classes: int,
    *,
    size: tuple[int, int] = DEFAULT_SIZE,
    pretrained: bool = True,
    seed: int = 0,
) -> Method:
    """A new method, in training mode on the CPU.

    Args:
        name: Registry name.
        settings: Its options; missing ones have the published values.
        num_classes: Training identities.
        size: Height and width of the images it will be given.
        pretrained: False leaves out the initial weights that the settings name, because others will be
            loaded.
        seed: Of the random initial values; the global random state is neither used nor changed.

    Raises:
        UsageError: Unknown method or backbone, or initial weights that cannot be fetched.
        ConfigError: Bad settings.
        CheckpointError: A local file of initial weights that does not fit.
    """
    if num_classes < 1:
        raise UsageError(f"a method needs 1 or more training identities, not {num_classes}")
    checked = parse_settings(name, settings)
    used = checked if pretrained else checked.model_copy(update={"pretrained": None})
    state = torch.random.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        method = get_method(name)(used, num_classes, size)
    finally:
        torch.random.set_rng_state(state)
    method.settings = checked
    return method


def restore(path: Path | str) -> tuple[Method, dict[str, Any]]:
    """The method that a weights file holds, in evaluation mode on the CPU, and the file's card.

    Raises:
        CheckpointError: A file that is damaged, foreign, of a newer format or an unknown method, or does not
            fit.
    """
    tensors, card = read_weights(path)
    return rebuild(tensors, card, str(path)), card


def rebuild(tensors: Mapping[str, Tensor], card: Mapping[str, Any], source: str) -> Method:
    """The method that tensors and their card are of, in evaluation mode on the CPU.

    The network is compared with the tensors as an outline without memory before it is built: a small file
    cannot ask for a large one.

    Raises:
        CheckpointError: The card is of an unknown method or settings, or the tensors do not fit it.
    """
    try:
        with torch.device("meta"), contextlib.suppress(NotImplementedError, RuntimeError):
            outline = _described(card)
            _refuse_larger(outline, tensors, source)
        method = _described(card)
    except (UsageError, ConfigError) as error:
        missing = asked_for(card.get("plugins"))
        raise CheckpointError(f"the card of {source} cannot be used: {missing or error}") from error
    method.load_tensors(tensors, source)
    return method.eval()


def _described(card: Mapping[str, Any]) -> Method:
    """The network that a card describes, with random values."""
    return build(card["method"], card["settings"], card["num_classes"], size=_size(card), pretrained=False)


def _size(card: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width that a card's network was built for; cards of 0.1.0 say only how images are read."""
    preprocessing = card.get("preprocessing")
    read = preprocessing.get("size") if isinstance(preprocessing, Mapping) else None
    size = card.get("size", read)
    if size is None:
        return DEFAULT_SIZE
    try:
        return Preprocessing.model_validate({"size": size}).size
    except ValidationError as error:
        raise ConfigError(f"its size is {size!r}; it must be a height and a width in pixels") from error


def _refuse_larger(outline: Method, tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors that do not fit the network, or a network far larger than what the file holds of it."""
    outline.check_tensors(tensors, source)
    needed = sum(value.nbytes for value in outline.state_dict().values())
    held = sum(value.nbytes for value in tensors.values())
    if needed > max(FREE_BYTES, 3 * held):
        raise CheckpointError(
            f"{source} holds {held:,} bytes of tensors, and its card describes a network of {needed:,}: "
            "it is refused"
        )
