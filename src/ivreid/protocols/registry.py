"""Protocols by name, and which options fit which."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from ivreid.catalogue import DATASETS, PROTOCOLS
from ivreid.errors import UsageError
from ivreid.metrics import CMC_RULES
from ivreid.protocols.base import DIRECTIONS, Protocol
from ivreid.protocols.draws import Permutations

FALLBACK = "cross-modality"
"""The protocol of a dataset that names none and has none of its own name."""
_VARIED = ("mode", "shots", "direction")


def register_protocol(cls: type[Protocol]) -> type[Protocol]:
    """A decorator that makes a protocol of your own known by its `name`, everywhere in this process.

    See docs/protocols.md. It goes above `@dataclass(frozen=True)`. The command line takes the file with
    `--plugin FILE.py`; an installed package names its class under the entry points `ivreid.protocols` instead.

    Raises:
        UsageError: The name is taken, or the class lacks something; the message says what.
    """
    PROTOCOLS.register(cls)
    return cls


def get_protocol(name: str) -> type[Protocol]:
    """The protocol of that name, or of the dataset of that name.

    Raises:
        UsageError: Unknown; the message names the closest ones.
    """
    chosen: str | None = DATASETS[name].protocol if name in DATASETS else None
    if chosen is None:
        chosen = name if name in PROTOCOLS or name not in DATASETS else FALLBACK
    protocol: type[Protocol] = PROTOCOLS.find(chosen)
    return protocol


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
    **own: Any,
) -> Protocol:
    """A protocol with its options decided; None takes the protocol's default.

    Args:
        name: "sysu-mm01", "regdb", "llcm", "cross-modality", one of your own, or a dataset, which has one.
        mode: sysu-mm01: "all" (default) or "indoor".
        shots: sysu-mm01: 1 (default) or 10.
        draw: sysu-mm01: "official" (default where permutations are given), "agw" (default otherwise),
            "iv-reid" or "seeded".
        direction: The others: query-first; "infrared-to-visible" is the default.
        cmc: "image" or "identity"; sysu-mm01 and llcm default to identity, the others to image.
        permutations: sysu-mm01: the authors' `rand_perm_cam.mat`, read or to be read; used by the official
            draw.
        trial: regdb: the split (1 to 10) the images belong to. Nothing to a dataset's protocol that knows no
            splits.
        **own: Options of a protocol of your own.

    Raises:
        UsageError: An unknown name, an option this protocol does not have, or a value it does not know.
        DataError: Permutations that cannot be read.
    """
    kind = get_protocol(name)
    choices = {**kind.choices, "cmc": CMC_RULES}
    given = {"mode": mode, "shots": shots, "draw": draw, "direction": direction, "cmc": cmc, **own}
    if "trial" in choices or name == kind.name:
        given["trial"] = trial
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for key, value in options.items():
        if key not in choices:
            raise UsageError(f"{name} has no option {key} ({value}); its options are {', '.join(choices)}")
        if value not in choices[key]:
            raise UsageError(
                f"{key} {value!r} does not fit {name}; it takes {', '.join(map(str, choices[key]))}"
            )
    options.setdefault("cmc", kind.default_cmc)
    official = "official" in choices.get("draw", ()) and options.get("draw", "official") == "official"
    if official and permutations is not None:
        known = permutations if isinstance(permutations, Permutations) else Permutations.read(permutations)
        options |= {"draw": "official", "permutations": known}
    return kind(**options)


def every_setting(name: str, *, permutations: object = None, **given: Any) -> list[dict[str, Any]]:
    """Every mode, number of shots and direction of a protocol, as options of `make_protocol`.

    Variants that exist beside the protocol (LLCM with swapped roles) are left out. SYSU-MM01's ten shots take the
    official draw where there are permutations, else the seeded one.

    Args:
        name: As for `make_protocol`.
        permutations: Whatever is given to `make_protocol`.
        **given: Options that are decided; None decides nothing.

    Raises:
        UsageError: As for `make_protocol`; or no setting goes with what is given.
    """
    choices = get_protocol(name).choices
    fixed = {key: value for key, value in given.items() if value is not None}
    varied = {key: _every(key, choices[key]) for key in _VARIED if key in choices and key not in fixed}
    found, refused = [], None
    for values in itertools.product(*varied.values()):
        setting = {**fixed, **dict(zip(varied, values, strict=True))}
        several = setting.get("shots", 1) != 1
        if several and "draw" not in setting and "seeded" in choices.get("draw", ()) and permutations is None:
            setting["draw"] = "seeded"
        try:
            make_protocol(name, **setting, permutations=permutations)  # type: ignore[arg-type]
        except UsageError as error:
            refused = error
        else:
            found.append(setting)
    if not found and refused is not None:
        raise refused
    return found


def _every(key: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value for value in values if value in DIRECTIONS) if key == "direction" else values
