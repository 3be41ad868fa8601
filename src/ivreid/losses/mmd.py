"""Maximum mean discrepancy: how unlike two sets of rows are distributed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ivreid.losses.pairs import euclidean
from ivreid.tensors import without_autocast

OCTAVES = (-2, -1, 0, 1, 2)


@without_autocast
def mmd_loss(rows: Tensor, others: Tensor) -> Tensor:
    """Mean kernel within one set, plus within the other, less twice the mean between them; 0 for equal sets.

    The kernel is the sum over i = -2..2 of exp(-q / (w 2^i)), q the squared distance of two rows of length 1,
    w = the sum of all q over (n^2 - n), a constant, for n rows in both sets together. Rows are pairs of
    themselves too.

    Source: Gretton et al., "A Kernel Two-Sample Test" (JMLR 2012), eq. 5; Jiang et al. (ECCV 2024, DNS).

    In several processes: of the gathered rows, the whole loss on each.

    Shape:
        (A, D), (B, D) -> scalar.
    """
    joined = functional.normalize(torch.cat([rows, others]))
    n, a = len(joined), len(rows)
    squares = euclidean(joined, joined).square()
    width = (squares.detach().sum() / max(n * n - n, 1)).clamp(min=torch.finfo(squares.dtype).tiny)
    kernel = torch.stack([(-squares / (width * 2.0**octave)).exp() for octave in OCTAVES]).sum(0)
    return kernel[:a, :a].mean() + kernel[a:, a:].mean() - 2 * kernel[:a, a:].mean()
