"""What the processes of these tests do."""

from __future__ import annotations

import gc
import json
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from processes import train_run
from timm.layers import BatchNormAct2d
from torch import nn

from double_precision import use_double_precision
from ivreid.config import make_config
from ivreid.data import normalise
from ivreid.distributed.group import process_group
from ivreid.distributed.parallel import data_parallel
from ivreid.distributed.processes import process_from_environment
from ivreid.distributed.sync_norm import synchronise_norms
from ivreid.evaluation.sharded import Interrupted, embed_sharded
from ivreid.training.setup import build_run_parts
from ivreid.types import Embeddings, ImageTable, Modality, Sample
from kill_points import KillPoint, kill_at


@contextmanager
def joined() -> Any:
    torch.set_num_threads(1)
    process = process_from_environment()
    with process_group("cpu", process):
        yield process


def leave_a_group() -> None:
    with joined():
        group = weakref.ref(dist.group.WORLD)
    gc.collect()
    assert group() is not None


class Norms(nn.Module):
    """Every kind of batch norm that a backbone or a head may hold."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.first = BatchNormAct2d(4)
        self.second = nn.Conv2d(4, 5, 3, stride=2)
        self.plain = nn.BatchNorm2d(5, momentum=None)
        self.bare = nn.BatchNorm1d(5, affine=False)
        self.untracked = nn.BatchNorm1d(5, track_running_stats=False)
        generator = torch.Generator().manual_seed(4)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.plain(self.second(self.first(self.stem(x))))
        out: torch.Tensor = self.untracked(self.bare(x.relu().mean((2, 3))) + 3)
        return out


def norm_input(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = 20 + torch.randn(7, 3, 9, 8, generator=generator, dtype=torch.float64)
    return x, torch.randn(7, 5, generator=generator, dtype=torch.float64)


def norm_steps(network: nn.Module, rows: slice, world: int) -> dict[str, Any]:
    """Three batches; outputs, gradients and running statistics of the weighted sum over all rows."""
    outputs, inputs = [], []
    for step in range(3):
        x, weight = norm_input(step)
        x = x[rows].requires_grad_()
        y = network(x)
        (
            world * (y * weight[rows]).sin().sum()
        ).backward()  # the average over processes divides by their number
        outputs.append(y.detach())
        inputs.append(x.grad)
    return {
        "outputs": torch.cat(outputs, 1),
        "inputs": torch.cat(inputs, 1),
        "gradients": {name.removeprefix("module."): p.grad for name, p in network.named_parameters()},
        "buffers": {name.removeprefix("module."): b for name, b in network.named_buffers()},
    }


def norms(folder: str, rows: list[slice]) -> None:
    with joined() as process:
        network = data_parallel(process, synchronise_norms(Norms(), torch.device("cpu")))
        found = norm_steps(network, rows[process.rank], process.world_size)
        found["inputs"] /= process.world_size
        torch.save(found, Path(folder) / f"{process.rank}.pt")


def first_batches(config: dict[str, Any], folder: str, batches: int = 2) -> None:
    """Losses and gradients of the first batches in double precision, with the buffers after them."""
    with joined() as process:
        parts = build_run_parts(make_config(config), process)
        network = parts.network.double()
        model = data_parallel(process, network)
        losses = []
        for number, batch in enumerate(parts.loader.epoch(0)):
            if number == batches:
                break
            images = normalise(batch.images, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), True).double()
            terms = model(images, batch.labels, batch.infrared)
            sum(terms.values()).backward()
            losses.append({name: float(term) for name, term in terms.items()})
        torch.save(
            {
                "losses": losses,
                "gradients": {name: p.grad for name, p in network.named_parameters()},
                "buffers": dict(network.named_buffers()),
                "batches": parts.loader.batches_in(0),
            },
            Path(folder) / f"{process.world_size}-{process.rank}.pt",
        )


def people(count: int) -> list[Sample]:
    return [Sample(f"{n:03d}.jpg", n % 3, 1 + n % 2, Modality.VISIBLE, 1 + n // 6) for n in range(count)]


def embed_shares(folder: str) -> None:
    """Rows are the image's number: for every count the joined rows must stand in the samples' order."""
    with joined() as process:
        for count in (1, 2, 5, 8):
            asked: list[Sample] = []

            def embed(share: Any, asked: list[Sample] = asked) -> Embeddings:
                asked += share
                rows = torch.tensor([[float(s.path[:3])] * 3 for s in reversed(share)])
                return Embeddings(rows.numpy(), ImageTable.from_samples(reversed(share)))

            out = embed_sharded(process, people(count), embed)
            assert abs(len(asked) - count / process.world_size) < 1, "no process does another's share"
            assert (out is None) == (process.rank != 0)
            if out is not None:
                assert out.vectors[:, 0].tolist() == list(range(count))
                assert out.images.paths == tuple(s.path for s in people(count))
        _interrupted_together(process)
        Path(folder, f"done-{process.rank}").touch()


def _interrupted_together(process: Any) -> None:
    def embed(share: Any) -> Embeddings:
        if process.rank == 1:
            raise Interrupted
        return Embeddings(torch.zeros(len(share), 3).numpy(), ImageTable.from_samples(share))

    try:
        embed_sharded(process, people(5), embed)
    except Interrupted:
        return
    raise AssertionError("the interruption of rank 1 did not reach this process")


def train_in_double_precision(config: dict[str, Any]) -> None:
    """What `ivreid train` does, in double precision."""
    use_double_precision()
    train_run(config, False)


def train_until(config: dict[str, Any], points: list[KillPoint | None], tallies: str | None = None) -> None:
    """What `ivreid train --resume` does, each process ended at its point; the events go to a file if asked."""
    rank = process_from_environment().rank
    with kill_at(points[rank]) as counts:
        train_run(config, True)
    if tallies is not None:
        Path(tallies, f"{rank}.json").write_text(json.dumps(counts))


def fail(config: dict[str, Any], who: int, how: str) -> None:
    """Train until step 3, at which one process ends."""
    import os
    import signal

    from ivreid.distributed import failure
    from ivreid.training import loop, train

    failure.GRACE_SECONDS = 3600.0  # however slow the machine, they shall leave by themselves
    real = loop.Run.step

    def step(self: Any, *args: Any) -> None:
        if self.position.step == 2 and dist.get_rank() == who:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "signal":
                os.kill(os.getpid(), signal.SIGTERM)
            if how == "bug":
                raise ValueError("a bug in step 3")
        real(self, *args)

    loop.Run.step = step  # type: ignore[method-assign]
    train(make_config(config))


def compare_states(config: dict[str, Any], folder: str) -> None:
    """Train an epoch; after every step weights, averages, optimiser and statistics are those of rank 0."""
    from ivreid.distributed.collectives import broadcast_tensors
    from ivreid.training import loop, train
    from ivreid.training.checkpoint import _optimizer_tensors

    real, compared = loop.Run.step, 0

    def step(self: Any, *args: Any) -> None:
        nonlocal compared
        real(self, *args)
        parts = self.parts
        mine = {
            **parts.network.state_dict(),
            **{f"ema.{name}": value for name, value in parts.average.network.state_dict().items()},
            **_optimizer_tensors(parts.network, parts.optimizer),
        }
        theirs = broadcast_tensors(self.process, mine)
        assert theirs.keys() == mine.keys()
        assert all(torch.equal(theirs[name], value) for name, value in mine.items())
        compared += 1
        if self.process.rank == 1:
            Path(folder, "compared").write_text(str(compared))

    loop.Run.step = step  # type: ignore[method-assign]
    train(make_config(config))


def evaluate(run: str) -> None:
    """What `ivreid evaluate` does; only rank 0 has results."""
    from ivreid.evaluation import evaluate_run

    results = evaluate_run(run, device="cpu", workers=0)
    assert len(results) == (1 if process_from_environment().is_main else 0)
