"""Matrix products on a device, for `ivreid.evaluate(..., product=product_on("cuda"))`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ivreid.distributed.device import choose_device
from ivreid.errors import UsageError
from ivreid.protocols import MatrixProduct


def product_on(device: str | torch.device = "auto") -> MatrixProduct:
    """A product that keeps the gallery on a device and multiplies there, in the precision it is given.

    Raises:
        UsageError: A device this machine has not, or double precision on MPS, which has none.
    """
    where = choose_device(device)

    def prepare(gallery: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
        if where.type == "mps" and gallery.dtype == np.float64:
            raise UsageError("MPS has no double precision; use precision single there (--single), or the CPU")
        held = torch.from_numpy(gallery).to(where)

        def multiply(queries: NDArray[Any]) -> NDArray[Any]:
            found: NDArray[Any] = (
                (held @ torch.from_numpy(np.ascontiguousarray(queries)).to(where).T).cpu().numpy()
            )
            return found

        return multiply

    return prepare
