"""Weights to start from: another run's, or ImageNet's."""

from __future__ import annotations

import logging

from ivreid.errors import CheckpointError
from ivreid.inference import weights_file
from ivreid.methods import Method
from ivreid.models import SlowCopy, read_weights

log = logging.getLogger(__name__)

SHOWN = 8


def is_ours(address: str) -> bool:
    """Whether a file holds weights of ours, with their card; ImageNet files hold none."""
    try:
        read_weights(weights_file(address))
    except CheckpointError:
        return False
    return True


def start_from(network: Method, address: str) -> list[str]:
    """Load every tensor of a weights file that the network has by the same name and shape.

    Args:
        network: A new network; what does not fit keeps its initial values.
        address: A weights file, a run folder, or `hf://ORG/NAME[@REVISION]`.

    Returns:
        Names of the network's tensors that were not found there; they are also logged.

    Raises:
        CheckpointError: Damaged weights, or weights of another network: less than half of the tensors fit.
    """
    file = weights_file(address)
    tensors, card = read_weights(file)
    copies = tuple(f"{name}." for name, part in network.named_modules() if isinstance(part, SlowCopy))
    own = {
        key: value for key, value in network.state_dict().items() if not key.startswith(copies)
    }  # they follow
    fitting = {key: value for key, value in tensors.items() if key in own and own[key].shape == value.shape}
    if 2 * len(fitting) < len(own):
        raise CheckpointError(
            f"{file} holds weights of {card.get('method')}, and only {len(fitting)} of {len(own)} tensors fit {network.name} with these "
            "settings; choose the method and backbone they are of"
        )
    left = [key for key in own if key not in fitting]
    network.load_state_dict(fitting, strict=False)
    if left:
        more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
        log.warning(
            "%s: %d of %d tensors fit; new are %s%s",
            file,
            len(fitting),
            len(own),
            ", ".join(left[:SHOWN]),
            more,
        )
    return left
