"""Two processes give the loss and the gradients of one process on the joined batch."""

from __future__ import annotations

import datetime

import pytest
import torch
import torch.distributed as dist
from torch import nn

from ivreid.distributed.gather import gather_rows
from ivreid.losses import identity_loss, mutual_loss, triplet_loss

WORLD = 2
IDENTITIES, IMAGES = 4, 3


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(IDENTITIES * IMAGES, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return x, torch.arange(IDENTITIES).repeat_interleave(IMAGES)


class Net(nn.Module):
    """Embeds and gives the sum of the losses, as a method does."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.layer = nn.Linear(5, 6).double()
        self.heads = nn.ModuleList(nn.Linear(6, IDENTITIES).double() for _ in range(2))
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        f = self.layer(x)
        one, two = (head(f) for head in self.heads)
        return {
            "identity": identity_loss(one, labels) + identity_loss(two, labels),
            "mutual": mutual_loss(one, two),
            "triplet": triplet_loss(
                f, labels, margin=0.3, candidates=gather_rows(f), candidate_labels=gather_rows(labels)
            ),
        }


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=WORLD,
        timeout=datetime.timedelta(seconds=60),
    )
    x, labels = batch()
    rows = slice(rank * len(x) // WORLD, (rank + 1) * len(x) // WORLD)

    part = x[rows].clone().requires_grad_()
    joined = gather_rows(part)
    # a weight that differs between processes: the backward pass must sum both processes' gradients
    (joined * torch.arange(1, len(x) + 1)[:, None] * (rank + 1)).sum().backward()

    net = nn.parallel.DistributedDataParallel(Net())
    terms = net(x[rows], labels[rows])
    sum(terms.values()).backward()
    torch.save(
        {
            "joined": joined.detach(),
            "gather_gradient": part.grad,
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
    x, labels = batch()

    for rank, result in enumerate(found):
        assert torch.equal(result["joined"], x)
        half = torch.arange(1, len(x) + 1, dtype=torch.float64)[:, None].expand_as(x)
        rows = slice(rank * len(x) // WORLD, (rank + 1) * len(x) // WORLD)
        torch.testing.assert_close(result["gather_gradient"], half[rows] * (1 + 2))

    net = Net()
    terms = net(x, labels)
    sum(terms.values()).backward()
    for name, term in terms.items():
        mean = torch.stack([result["losses"][name] for result in found]).mean()
        torch.testing.assert_close(mean, term.detach(), atol=1e-12, rtol=0)
    for index, parameter in enumerate(net.parameters()):
        for result in found:
            torch.testing.assert_close(result["gradients"][index], parameter.grad, atol=1e-12, rtol=0)
