"""Two processes give the loss and the gradients of one process on the joined batch."""

from __future__ import annotations

import datetime

import pytest
import torch
import torch.distributed as dist
from every_loss import IDENTITIES, LOSSES, Inputs, fixed_input
from torch import nn

from ivreid.distributed.gather import gather_rows
from time_limits import seconds

WORLD = 2


class Net(nn.Module):
    """Embeds and gives the sum of all losses, as a method does."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        widths = {"x": 6, "y": 6, "logits": IDENTITIES, "teacher": IDENTITIES, "maps": 18}
        self.layers = nn.ModuleDict({name: nn.Linear(5, width).double() for name, width in widths.items()})
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)

    def forward(self, batch: Inputs) -> dict[str, torch.Tensor]:
        made = {name: layer(batch["x"]) for name, layer in self.layers.items()}
        made["maps"] = made["maps"].unflatten(1, (3, 6)).sigmoid()
        return {name: loss({**batch, **made}) for name, loss in LOSSES.items()}


def part(batch: Inputs, rank: int) -> Inputs:
    rows = len(batch["x"]) // WORLD
    return {name: value[rank * rows : (rank + 1) * rows] for name, value in batch.items()}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=WORLD,
        timeout=datetime.timedelta(seconds=seconds(120)),
    )
    mine = part(fixed_input(), rank)
    rows = mine["x"].clone().requires_grad_()
    joined = gather_rows(rows)
    # a weight that differs between processes: the backward pass must sum both processes' gradients
    (joined * torch.arange(1, len(joined) + 1)[:, None] * (rank + 1)).sum().backward()

    net = nn.parallel.DistributedDataParallel(Net())
    terms = net(mine)
    sum(terms.values()).backward()
    torch.save(
        {
            "joined": joined.detach(),
            "gather_gradient": rows.grad,
            "losses": {name: term.detach() for name, term in terms.items()},
            "gradients": [p.grad for p in net.parameters()],
        },
        f"{folder}/{rank}.pt",
    )
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    torch.multiprocessing.spawn(work, args=(str(tmp_path),), nprocs=WORLD)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]
    joined = fixed_input()["x"]
    weights = torch.arange(1, len(joined) + 1, dtype=torch.float64)[:, None].expand_as(joined)
    for rank, result in enumerate(found):
        assert torch.equal(result["joined"], joined)
        rows = slice(rank * len(joined) // WORLD, (rank + 1) * len(joined) // WORLD)
        torch.testing.assert_close(result["gather_gradient"], weights[rows] * (1 + 2))

    net = Net()
    terms = net(fixed_input())
    sum(terms.values()).backward()
    for name, term in terms.items():
        mean = torch.stack([result["losses"][name] for result in found]).mean()
        torch.testing.assert_close(mean, term.detach(), atol=1e-12, rtol=1e-12, msg=name)
    for index, parameter in enumerate(net.parameters()):
        for result in found:
            torch.testing.assert_close(result["gradients"][index], parameter.grad, atol=1e-11, rtol=1e-11)
