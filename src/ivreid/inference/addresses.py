"""Weights by address: `hf://ORG/NAME[@REVISION]`, safetensors only, the revision always known."""

from __future__ import annotations

import re
from pathlib import Path

from ivreid.errors import UsageError
from ivreid.reading import clean

SCHEME = "hf://"
REMOTE_FILE = "weights.safetensors"
"""The file a page of weights holds; `ivreid card` says how such a page is made."""

_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?")


def is_address(text: object) -> bool:
    """Whether a text names weights on the Hugging Face hub; a path never begins so."""
    return isinstance(text, str) and text.startswith(SCHEME)


def fetch(address: str) -> tuple[Path, str]:
    """Fetch weights, or find them in the hub's cache.

    Args:
        address: `hf://ORG/NAME`, with `@REVISION` (branch, tag or commit) where not the newest is wanted.

    Returns:
        The local file, and the address with the commit it is of: that is what a result records.

    Raises:
        UsageError: No such address, page, revision or file, or no network.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UsageError(
            f"{clean(address)} is no address of weights; it must read hf://ORG/NAME or hf://ORG/NAME@REVISION"
        )
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    repo, revision = match["repo"], match["revision"]
    try:
        local = Path(huggingface_hub.hf_hub_download(repo, REMOTE_FILE, revision=revision))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"{clean(address)} cannot be fetched ({clean(reason, 160)}); check name, revision and "
            "network, or give a local weights file"
        ) from error
    commit = local.parent.name if local.parent.parent.name == "snapshots" else (revision or "unknown")
    return local, f"{SCHEME}{repo}@{commit}"
