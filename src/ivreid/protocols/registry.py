"""Protocols by name, and which options fit which."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ivreid.errors import UsageError, did_you_mean
from ivreid.metrics import CMC_RULES, CmcRule
from ivreid.protocols.base import DIRECTIONS, Protocol
from ivreid.protocols.cross_modality import CrossModality
from ivreid.protocols.draws import DRAWS, Permutations
from ivreid.protocols.llcm import LLCM, SWAPPED
from ivreid.protocols.regdb import RegDB
from ivreid.protocols.sysu_mm01 import GALLERY_CAMERAS, SHOTS, SysuMM01

PROTOCOLS: Mapping[str, type[Protocol]] = {
    "sysu-mm01": SysuMM01,
    "regdb": RegDB,
    "llcm": LLCM,
    "cross-modality": CrossModality,
    "folder": CrossModality,
    "csv": CrossModality,
}
"""Datasets without a protocol of their own ("folder", "csv") take the plain cross-modality one."""

DEFAULT_CMC: Mapping[type[Protocol], CmcRule] = {
    SysuMM01: "identity",
    RegDB: "image",
    LLCM: "identity",
    CrossModality: "image",
}

_CHOICES: Mapping[type[Protocol], Mapping[str, tuple[Any, ...]]] = {
    SysuMM01: {"mode": tuple(GALLERY_CAMERAS), "shots": tuple(SHOTS), "draw": DRAWS},
    RegDB: {"direction": DIRECTIONS, "trial": tuple(range(1, 11))},
    LLCM: {"direction": (*DIRECTIONS, SWAPPED)},
    CrossModality: {"direction": DIRECTIONS},
}


def make_protocol(
    name: str,
    *,
    mode: str | None = None,
    shots: int | None = None,
    draw: str | None = None,
    direction: str | None = None,
    cmc: str | None = None,
    permutations: Path | str | Permutations | None = None,
    trial: int | None = None,
) -> Protocol:
    """A protocol with its options decided; None takes the protocol's default.

    Args:
        name: "sysu-mm01", "regdb", "llcm", or "cross-modality" (also "folder", "csv").
        mode: sysu-mm01: "all" (default) or "indoor".
        shots: sysu-mm01: 1 (default) or 10.
        draw: sysu-mm01: "official" (default where permutations are given), "agw" (default otherwise) or
            "iv-reid".
        direction: The others: query-first; "infrared-to-visible" is the default.
        cmc: "image" or "identity"; sysu-mm01 and llcm default to identity, the others to image.
        permutations: sysu-mm01: the authors' `rand_perm_cam.mat`, read or to be read; used by the official
            draw.
        trial: regdb: the split (1 to 10) the images belong to.

    Raises:
        UsageError: An unknown name, an option this protocol does not have, or a value it does not know.
        DataError: Permutations that cannot be read.
    """
    kind = PROTOCOLS.get(name)
    if kind is None:
        raise UsageError(f"unknown protocol {name!r}; {did_you_mean(name, PROTOCOLS)}")
    choices = {**_CHOICES[kind], "cmc": CMC_RULES}
    given = {"mode": mode, "shots": shots, "draw": draw, "direction": direction, "cmc": cmc, "trial": trial}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for key, value in options.items():
        if key not in choices:
            raise UsageError(f"{name} has no option {key} ({value}); its options are {', '.join(choices)}")
        if value not in choices[key]:
            raise UsageError(
                f"{key} {value!r} does not fit {name}; it takes {', '.join(map(str, choices[key]))}"
            )
    options.setdefault("cmc", DEFAULT_CMC[kind])
    if kind is SysuMM01 and permutations is not None and options.get("draw", "official") == "official":
        known = permutations if isinstance(permutations, Permutations) else Permutations.read(permutations)
        options |= {"draw": "official", "permutations": known}
    return kind(**options)
