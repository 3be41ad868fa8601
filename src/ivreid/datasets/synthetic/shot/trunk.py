"""The trunk: shirts, jackets, coats, dresses and skirts, with their openings, straps and belts."""

from __future__ import annotations

import numpy as np

from ivreid.datasets.synthetic.identity import SKIRTS
from ivreid.datasets.synthetic.shot.canvas import Patch, Profile
from ivreid.datasets.synthetic.shot.cloth import cloth_colour
from ivreid.datasets.synthetic.shot.figure import Figure, void
from ivreid.datasets.synthetic.surface import Fabric

OUTLINE = (
    # (share of the way from neck to crotch, half-width to the side, half-depth), average adult
    (0.00, 0.034, 0.036),
    (0.05, 0.066, 0.045),
    (0.10, 0.102, 0.052),
    (0.18, 0.114, 0.060),
    (0.40, 0.100, 0.068),
    (0.65, 0.084, 0.062),
    (0.85, 0.092, 0.068),
    (1.00, 0.094, 0.070),
)
REACH = 0.36
"""Length of the trunk from neck to crotch, in body heights."""


def add_trunk(figure: Figure) -> None:
    """Collect the upper garment, then what hangs over the hips."""
    identity = figure.identity
    height = identity.build.height
    upper = identity.upper
    if identity.lower.kind in SKIRTS and upper.kind != "dress":
        figure.add(
            -0.012,
            lambda: _skirt(
                figure,
                figure.joints["pelvis"][1] + 0.07 * height,
                identity.lower.hem * height,
                identity.lower.fabric,
                identity.lower.ease,
            ),
        )
    else:
        figure.add(-0.015, lambda: _hips(figure))
    figure.add(0.0, lambda: _torso(figure))
    for name, side in (("neck", 0.012),):
        neck, chin = figure.joints[name], figure.joints["chin"]
        base = neck - (chin - neck) * 0.9
        figure.limb(-side, base, chin, (0.034 * height, 0.030 * height), identity.skin)
    if identity.scarf is not None:
        scarf = identity.scarf
        neck = figure.joints["neck"]
        figure.limb(0.03, neck + (0, 0.016, 0.004), neck - (0, 0.006, -0.006), (0.047, 0.052), scarf)


def _profile(figure: Figure, ease: float, start: float, end: float, spread: float = 0.0) -> Profile:
    """Visible half-widths from `start` to `end` (shares of the trunk), plus `ease`, flaring by `spread`."""
    build = figure.identity.build
    shares, sides, depths = np.array(OUTLINE).T
    places = np.linspace(start, end, 14)
    side, deep = np.interp(places, shares, sides), np.interp(places, shares, depths)
    lower = np.clip((places - 0.35) / 0.4, 0, 1)
    side = side * (build.shoulders * (1 - lower) + build.hips * lower) * (0.8 + 0.2 * build.girth)
    deep = (
        deep
        * (0.4 + 0.6 * build.girth)
        * (1 + 0.35 * max(0.0, build.girth - 1.05) * np.exp(-(((places - 0.65) / 0.25) ** 2)) * 4)
    )
    loose = ease * np.clip((places - 0.02) / 0.15, 0.2, 1) + spread * np.clip((places - 0.8) / 0.6, 0, 1)
    flat = [
        ((place - start) / (end - start), figure.view.width(s + e, d + e) * build.height)
        for place, s, d, e in zip(places, side, deep, loose, strict=True)
    ]
    return tuple(flat)


def _hips(figure: Figure) -> None:
    """Trousers' seat."""
    identity = figure.identity
    lower = identity.lower
    neck, pelvis = figure.joints["neck"], figure.joints["pelvis"]
    down = (pelvis - neck) / 0.315
    start, end = neck + down * REACH * 0.66, neck + down * REACH * 1.0
    profile = _profile(figure, lower.ease * 0.5 - 0.004, 0.66, 1.0)
    figure.tube(
        figure.view.flat(start), figure.view.flat(end), profile, lower.fabric, cap=(0, 0.03), body=True
    )


def _skirt(figure: Figure, top: float, hem: float, fabric: Fabric, ease: float) -> None:
    """A skirt, a dress's or a coat's lower part: wide enough for the legs that walk in it."""
    identity, joints, view = figure.identity, figure.joints, figure.view
    height = identity.build.height
    pelvis = joints["pelvis"]
    centre = view.flat(np.array([pelvis[0], 0.0, pelvis[2]]))[0]
    waist = view.width(0.082 * identity.build.hips, 0.066 * identity.build.girth) * height
    hips = (
        view.width(0.098 * identity.build.hips + ease * 0.4, 0.076 * identity.build.girth + ease * 0.4)
        * height
    )
    knees = [view.flat(joints[name])[0] - centre for name in ("l_knee", "r_knee")]
    legs = (max(knees) - min(knees)) / 2 + 0.045 * height
    share = float(np.clip((0.5 * height - hem) / (0.25 * height), 0, 1.3))
    bottom = max(hips * 0.92, legs * min(1.0, share + 0.15)) + ease
    middle = (max(knees) + min(knees)) / 2 * min(share, 1.0)
    at_hips = float(np.clip((top - pelvis[1]) / max(top - hem, 0.05), 0.1, 0.9))
    start = (centre, view.flat(np.array([0, top, pelvis[2]]))[1])
    end = (centre + middle, view.flat(np.array([0, hem, pelvis[2]]))[1])
    figure.tube(start, end, ((0.0, waist), (at_hips, hips), (1.0, bottom)), fabric, sag=0.02, body=True)


def _torso(figure: Figure) -> None:
    identity, joints = figure.identity, figure.joints
    upper = identity.upper
    height = identity.build.height
    neck, pelvis = joints["neck"], joints["pelvis"]
    down = (pelvis - neck) / (0.315 * height)
    hem_height = upper.hem * height
    long = hem_height < pelvis[1] - 0.06 * height
    if long:
        _skirt(
            figure,
            pelvis[1] + 0.075 * height,
            hem_height,
            upper.fabric,
            upper.ease + (0.02 if upper.kind == "dress" else 0.006),
        )
        reach = 0.96
    else:
        reach = float((neck[1] - hem_height) / (REACH * height))
    start, end = figure.view.flat(neck), figure.view.flat(neck + down * REACH * height * reach)
    profile = _profile(figure, upper.ease, 0.0, reach)
    patch = figure.tube(start, end, profile, upper.fabric, cap=(0.006, 0.0), sag=0.012, body=True)
    if patch is not None:
        _details(figure, patch, reach * REACH * height)


def _details(figure: Figure, patch: Patch, length: float) -> None:
    """What shows on the trunk: an open front, a zip, a collar, a belt, straps."""
    identity = figure.identity
    upper = identity.upper
    turn, along = figure.turn(patch), patch.along
    edge = np.abs(turn)

    def lay(fabric: Fabric, mask: np.ndarray) -> None:  # type: ignore[type-arg]
        colour = cloth_colour(
            fabric, patch, figure.band, figure.gap, figure.canvas.light.folds, figure.view.heading
        )
        figure.canvas.paint(patch, colour, mask.astype(np.float32))

    if identity.opening:
        narrow = 0.5 if upper.kind == "blazer" else 0.0
        width = (
            identity.opening
            * (1 + 0.4 * along / length)
            * np.clip(1 - narrow * along / length * 1.6, 0.0, 1.4)
        )
        lay(identity.inner, edge < width)
    elif upper.kind in ("jacket", "hoodie", "puffer", "coat", "gilet"):
        dark = 1 - 0.45 * (edge < 0.07)
        figure.canvas.pixels[patch.rows, patch.columns] *= (1 - patch.alpha * (1 - dark))[..., None]
    if upper.kind in ("puffer", "gilet"):
        seams = 1 - 0.35 * ((along / 0.042) % 1 < 0.22)
        figure.canvas.pixels[patch.rows, patch.columns] *= (1 - patch.alpha * (1 - seams))[..., None]
    if upper.kind in ("t-shirt", "tank", "dress", "shirt", "blazer"):
        depth = {"tank": 0.05, "dress": 0.04, "shirt": 0.035, "blazer": 0.06}.get(upper.kind, 0.022)
        lay(
            identity.skin if upper.kind != "blazer" else identity.inner,
            (edge < 0.75) & (along < depth * (1 - edge / 0.75)),
        )
    if identity.belt and upper.kind in ("coat", "dress"):
        lay(identity.bag_fabric, np.abs(along - 0.235 * identity.build.height) < 0.012)
    if identity.bag == "backpack":
        lay(identity.bag_fabric, (np.abs(edge - 0.62) < 0.13) & (along > 0.01) & (along < 0.19))
    if identity.bag == "messenger":
        side = identity.side
        lean = 0.5 * side - turn
        across = np.where(
            edge < np.pi / 2, lean, 0.5 * side + np.where(turn > 0, np.pi - turn, -np.pi - turn)
        )
        middle = 0.03 + 0.12 * (across * side + 0.15)
        lay(identity.bag_fabric, np.abs(along - middle) < 0.016)


def add_hood(figure: Figure) -> None:
    """A hood lying on the shoulders."""
    identity = figure.identity
    if identity.upper.kind not in ("hoodie", "puffer"):
        return
    neck = figure.joints["neck"]
    height = identity.build.height
    behind = neck + np.array([0.0, 0.0, -0.045]) * height
    first, last = figure.view.flat(behind + (0, 0.022, 0)), figure.view.flat(behind - (0, 0.035, 0))
    half = figure.view.width(0.062, 0.035) * height
    figure.add(
        figure.view.depth(behind) * 1.2,
        lambda: void(
            figure.tube(first, last, ((0, half), (1, half * 0.8)), identity.upper.fabric, cap=(0.02, 0.03))
        ),
    )
