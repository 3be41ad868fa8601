"""What a method must do to be trained, stored, restored and searched: `check_method`."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ivreid.catalogue import METHODS
from ivreid.config.parse import make_config
from ivreid.methods import Method, build, parse_settings, restore
from ivreid.methods.base import named_losses
from ivreid.models import write_weights
from ivreid.studies.search_space import check_space, default_space
from ivreid.testing.broken import explained, require

IDENTITIES = 4
EPOCHS = (0, 10_000)
"""Two epochs between which anything that depends on time has changed."""


class Batch(NamedTuple):
    """Images of `IDENTITIES` people, two infrared ones of each and two visible ones in every view."""

    images: Tensor
    labels: Tensor
    infrared: Tensor
    view: Tensor


def check_method(cls: type[Method]) -> None:
    """Try everything that training, evaluation and studies need of a method, on a few small random images.

    It is built with its own `small` settings at `small_size`. Registered or not, it is known under its name
    meanwhile.

    Args:
        cls: The class.

    Raises:
        UsageError: It lacks something.
        BrokenContract: It does something else than it must; the message names the offending part.
    """
    with METHODS.holding(cls):
        method = _build(cls)
        _check_settings(cls, method)
        batch = make_batch(cls)
        for epoch in EPOCHS:
            _check_losses(method, batch, epoch)
        _check_epochs(method, batch)
        _check_half_precision(method, batch)
        _check_groups(method)
        _check_embedding(method.eval(), batch)
        _check_weights(method, batch)


def make_batch(cls: type[Method], *, seed: int = 0) -> Batch:
    """The images that the contract is tried with."""
    rows = 2 + 2 * cls.views
    of_identity = torch.arange(IDENTITIES * rows) % rows
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(IDENTITIES * rows, 3, *cls.small_size, generator=generator),
        torch.arange(IDENTITIES * rows) // rows,
        of_identity < 2,
        (of_identity // 2 - 1).clamp(min=0).to(torch.int8),
    )


def _build(cls: type[Method]) -> Method:
    with explained(f"{cls.name} cannot be built with its `small` settings {dict(cls.small)}"):
        before = torch.random.get_rng_state()
        method, again = (build(cls.name, cls.small, IDENTITIES, size=cls.small_size) for _ in range(2))
    require(
        torch.equal(before, torch.random.get_rng_state()),
        f"building {cls.name} moves the global random state",
    )
    same = again.state_dict()
    wrong = next(
        (key for key, value in method.state_dict().items() if not torch.equal(value, same[key])), None
    )
    require(
        wrong is None,
        f"{cls.name}: {wrong!r} starts differently for the same seed; draw from torch's own state",
    )
    for name, expected in (("num_classes", IDENTITIES), ("size", cls.small_size)):
        require(
            getattr(method, name) == expected,
            f"{cls.name}: `{name}` is {getattr(method, name)}, not {expected}; hand settings, num_classes and "
            "size on to super().__init__",
        )
    return method


def _check_settings(cls: type[Method], method: Method) -> None:
    with explained(f"{cls.name}: resolved settings do not read back"):
        again = parse_settings(cls.name, method.settings.model_dump(mode="json"))
    require(again == method.settings, f"{cls.name}: resolved settings read back as others: {again}")
    with explained(f"{cls.name}: `search`"):
        config = make_config({"method": {"name": cls.name, **cls.small}})
        check_space(default_space(config), config, "search")
    for dataset in cls.recipe.datasets if cls.recipe else ():
        with explained(f"{cls.name}: its recipe on {dataset}"):
            make_config({"recipe": cls.name, "data": {"dataset": dataset}})


def _losses(method: Method, batch: Batch, *, view: bool = True) -> dict[str, Tensor]:
    """The losses of a training step, drawn always alike; the caller's random state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = method(*batch[:3], batch.view) if view else method(*batch[:3])
    return named_losses(found, method.name)


def _check_losses(method: Method, batch: Batch, epoch: int) -> None:
    name, trained = method.name, copy.deepcopy(method).train()
    images = batch.images.clone()
    with explained(f"{name}: a training step in epoch {epoch}"):
        trained.begin_epoch(epoch)
        trained.begin_step()
        losses = _losses(trained, batch, view=method.views > 1)
    require(torch.equal(images, batch.images), f"{name}: `forward` changes the images it is given")
    for term, loss in losses.items():
        require(bool(loss.isfinite()), f"{name}: the loss {term!r} is {loss.item()} on small random images")
    for key, value in trained.measures.items():
        require(
            isinstance(value, Tensor) and value.ndim == 0 and not value.requires_grad,
            f"{name}: `measures` holds {key!r}, which is no scalar tensor without gradient; `detach()` it",
        )
    with explained(f"{name}: the gradient of its losses"):
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
    for key, parameter in trained.named_parameters():
        require(
            parameter.grad is not None or not parameter.requires_grad,
            f"{name}: no loss reaches the parameter {key!r} in epoch {epoch}, which several processes cannot "
            "train; use it, freeze it with requires_grad_(False), or make it a buffer",
        )
        if parameter.grad is not None:
            require(
                bool(parameter.grad.isfinite().all()),
                f"{name}: the gradient of {key!r} is NaN or infinite in epoch {epoch}",
            )


def _check_epochs(method: Method, batch: Batch) -> None:
    """What an epoch sets must follow from its number alone, or a resumed run would differ."""
    fresh, later = (copy.deepcopy(method).train() for _ in range(2))
    fresh.begin_epoch(0)
    later.begin_epoch(EPOCHS[-1])
    later.begin_epoch(0)
    with torch.no_grad():
        one, other = _losses(fresh, batch), _losses(later, batch)
    require(
        one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one),
        f"{method.name}: begin_epoch(0) after another epoch is not begin_epoch(0); it must set everything from "
        "the number alone",
    )


def _check_half_precision(method: Method, batch: Batch) -> None:
    with explained(f"{method.name}: a training step in bfloat16"), torch.autocast("cpu", torch.bfloat16):
        losses = _losses(copy.deepcopy(method).train(), batch)
    wrong = next((term for term, loss in losses.items() if not loss.isfinite()), None)
    require(wrong is None, f"{method.name}: the loss {wrong!r} overflows in bfloat16; compute it in float32")


def _check_groups(method: Method) -> None:
    names = {id(parameter): key for key, parameter in method.named_parameters()}
    frozen = {id(parameter) for parameter in method.parameters() if not parameter.requires_grad}
    seen: set[int] = set()
    for group in method.parameter_groups(1e-3):
        where = f"{method.name}: the parameter group {group.get('name')!r}"
        require(
            bool(group.get("name")) and group.get("lr", -1) >= 0, f"{where} needs a `name` and an `lr` >= 0"
        )
        for parameter in group["params"]:
            key = names.get(id(parameter))
            require(key is not None, f"{where} holds a tensor that is none of the method's parameters")
            require(id(parameter) not in seen, f"{where} holds {key!r}, which another group has, too")
            seen.add(id(parameter))
    left = next((key for one, key in names.items() if one not in seen | frozen), None)
    require(left is None, f"{method.name}: no parameter group holds {left!r}, so it would never learn")


@torch.no_grad()
def _check_embedding(method: Method, batch: Batch) -> None:
    name = method.name
    before = {key: value.clone() for key, value in method.state_dict().items()}
    with explained(f"{name}: embedding in evaluation mode"):
        whole = method.embed(batch.images, batch.infrared)
        order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(1))
        turned = method.embed(batch.images[order], batch.infrared[order])
        alone = torch.cat([method.embed(batch.images[i : i + 1], batch.infrared[i : i + 1]) for i in (0, 3)])
    expected = (len(batch.images), method.embedding_dim)
    require(whole.shape == expected, f"{name}: `embed` gives {tuple(whole.shape)}, not {expected}")
    require(whole.dtype == torch.float32, f"{name}: `embed` gives {whole.dtype}, not torch.float32")
    require(bool(whole.isfinite().all()), f"{name}: `embed` gives NaN or infinite values")
    tolerance = 1e-4 * max(1.0, float(whole.abs().max()))
    for side, what in ((batch.infrared, "infrared"), (~batch.infrared, "visible")):
        rows = whole[side]
        require(
            bool((rows - rows[0]).abs().max() > tolerance),
            f"{name}: `embed` gives every {what} image the same embedding",
        )
    require(
        torch.allclose(turned, whole[order], rtol=1e-4, atol=tolerance)
        and torch.allclose(alone, whole[[0, 3]], rtol=1e-4, atol=tolerance),
        f"{name}: an image's embedding depends on the other images of its batch",
    )
    changed = next(
        (key for key, value in method.state_dict().items() if not torch.equal(value, before[key])), None
    )
    require(changed is None, f"{name}: embedding changes {changed!r}")


@torch.no_grad()
def _check_weights(method: Method, batch: Batch) -> None:
    name, state = method.name, method.state_dict()
    for prefix in method.training_only:
        require(
            any(key.startswith(prefix) for key in state),
            f"{name}: `training_only` names {prefix!r}, but no parameter's name starts so",
        )
    generator = torch.Generator().manual_seed(2)
    for value in state.values():  # no longer what building alone would give
        if value.is_floating_point():
            value.add_(0.1 * (0.1 + value.abs()) * torch.rand(value.shape, generator=generator))
    kept = {key: value for key, value in state.items() if not key.startswith(method.training_only)}
    expected = method.embed(batch.images, batch.infrared)
    card: dict[str, Any] = method.card()
    with tempfile.TemporaryDirectory() as folder:
        for tensors, which in ((state, "weights"), (kept, "weights without the `training_only` parameters")):
            with explained(f"{name}: {which} do not restore it"):
                write_weights(Path(folder) / "weights.safetensors", tensors, card)
                restored, _ = restore(Path(folder) / "weights.safetensors")
                found = restored.embed(batch.images, batch.infrared)
            require(restored.settings == method.settings, f"{name}: {which} restore other settings")
            require(torch.equal(found, expected), f"{name}: {which} restore another network")
