"""Where a run's pictures lie, and the protocol that its results came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ivreid.errors import DataError
from ivreid.io import ValueRange, read_image
from ivreid.protocols import Protocol, make_protocol
from ivreid.report.inputs import ImageLoader
from ivreid.report.run_files import config_value


def root_of(config: Mapping[str, Any]) -> Path | None:
    """The dataset's folder as a configuration names it; None where it names none."""
    root = config_value(config, "data", "root")
    return Path(root) if isinstance(root, str) and root else None


def value_range_of_run(config: Mapping[str, Any]) -> ValueRange:
    """The run's value range; without one each picture is stretched, for people look at it here."""
    rule = config_value(config, "data", "value_range")
    if not isinstance(rule, list) or len(rule) != 2 or not all(isinstance(v, int | float) for v in rule):
        return "image"
    return (float(rule[0]), float(rule[1])) if rule[0] < rule[1] else "image"


def picture_loader(
    root: Path | None, reasons: dict[str, str], value_range: ValueRange = "image"
) -> ImageLoader | None:
    """Opens pictures below the dataset's folder; without one, None and the reason."""
    if root is None:
        reasons["images"] = (
            "the configuration names no dataset folder (`data.root`); give it with --data ROOT"
        )
        return None
    if not root.exists():
        reasons["images"] = f"the dataset folder {root} is not on this machine; give it with --data ROOT"
        return None
    inside = (root.parent if root.is_file() else root).resolve()  # a CSV's paths start from its folder

    def load(path: str) -> Image.Image:
        # a features file may come from anywhere: its paths must not lead out of the dataset
        if not (inside / path).resolve().is_relative_to(inside):
            raise DataError(f"{path} leads out of the dataset folder {root}")
        return read_image(inside / path, value_range)

    return load


def protocol_again(result: Mapping[str, Any], root: Path | None) -> Protocol:
    """The protocol a result came from, made again from its options."""
    known = ("mode", "shots", "draw", "direction", "cmc", "trial")
    options = {key: result["options"][key] for key in known if result["options"].get(key) is not None}
    if options.get("draw") == "official" and root is not None:
        options["permutations"] = root / "exp" / "rand_perm_cam.mat"
    return make_protocol(str(result["protocol"]), **options)
