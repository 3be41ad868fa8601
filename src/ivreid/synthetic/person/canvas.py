"""Painting bodies: tubes and balls with the look of solids, from signed distances, back to front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Pixels: float32, or a mask of booleans."""
Profile = tuple[tuple[float, float], ...]
_STEPS = 96
_RAMP = np.arange(_STEPS, dtype=np.float64)
CONTACT = 0.022
"""Reach of contact shadows, in body heights."""


def _noise(size: int, seed: int) -> Array:
    """A tileable cloud texture in [-1, 1]: the same for every dataset, offsets make it differ."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]) * size
    spectrum = (rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)) / (
        4 + frequency
    ) ** 1.6
    texture = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray(np.clip(texture / (2.2 * texture.std()), -1, 1), dtype=np.float32)


CLOUDS = _noise(256, 7)


def unit(values: Array) -> Array:
    """The values clipped to [0, 1], in place: `np.clip` costs more than it clips on small arrays."""
    return np.minimum(np.maximum(values, 0, out=values), 1, out=values)


@dataclass(frozen=True, slots=True)
class Light:
    """Where light comes from (x right, y down, z to the camera) and how much of it is directed.

    Attributes:
        direction: Unit vector towards the lamp.
        ambient: Light from everywhere.
        directed: Light from the lamp.
        folds: How much wrinkles show.
        contact: How much parts darken what lies right behind them.
    """

    direction: tuple[float, float, float]
    ambient: float
    directed: float
    folds: float
    contact: float


@dataclass(frozen=True, slots=True)
class Patch:
    """The pixels one shape touches, with the coordinates its cloth needs.

    Attributes:
        edge: (h, w) distance to the outline in pixels, positive inside.
        side: (h, w) sine of `turn`.
        across, along: (h, w) position on the surface in body heights, from the axis and from the upper end.
        shade: (h, w) light that comes back from a white surface.
    """

    rows: slice
    columns: slice
    edge: Array
    side: Array
    across: Array
    along: Array
    shade: Array

    @property
    def turn(self) -> Array:
        """(h, w) angle around the axis, radians, 0 where the surface faces the camera."""
        return np.arcsin(self.side)

    @property
    def alpha(self) -> Array:
        """(h, w) coverage, 0 to 1, smooth over one pixel at the outline."""
        return unit(self.edge + np.float32(0.5))


class Canvas:
    """A picture in the making and the map of what belongs to a person.

    Attributes:
        planes: (C, H, W) float32, one plane per channel, which is what numpy works on fastest.
        cover: (H, W) float32, the share of each pixel that belongs to a person.
    """

    def __init__(self, background: Array, scale: float, origin: tuple[float, float], light: Light) -> None:
        self.planes: Array = np.ascontiguousarray(np.moveaxis(background, -1, 0))
        self.cover: Array = np.zeros(background.shape[:2], dtype=np.float32)
        self.scale = scale
        self.origin = origin
        self.light = light

    @property
    def pixels(self) -> Array:
        """The picture as (H, W, C): a view, so that a canvas made of it paints the same picture."""
        return np.moveaxis(self.planes, 0, -1)

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        """Pixel coordinates of a point in body heights (x right, y up from the ground)."""
        return self.origin[0] + point[0] * self.scale, self.origin[1] - point[1] * self.scale

    def _box(self, x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice] | None:
        height, width = self.cover.shape
        margin = CONTACT * self.scale + 1
        left, right = max(0, int(x0 - margin)), min(width, int(x1 + margin) + 1)
        top, bottom = max(0, int(y0 - margin)), min(height, int(y1 + margin) + 1)
        return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None

    def tube(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        profile: Profile,
        *,
        cap: tuple[float, float] = (0, 0),
        sag: float = 0.0,
    ) -> Patch | None:
        """A straight solid around the axis from `start` to `end`, of changing half-width.

        Args:
            start: Upper end in body heights.
            end: Lower end.
            profile: (position along the axis 0..1, half-width in body heights) pairs.
            cap: How far the ends are rounded out beyond the axis, in body heights.
            sag: How far the middle of the lower end hangs below its edges (seen from above), in body heights.
        """
        (ax, ay), (bx, by) = self.place(start), self.place(end)
        length = max(float(np.hypot(bx - ax, by - ay)), 1e-3)
        dx, dy = (bx - ax) / length, (by - ay) / length
        before, after = cap[0] * self.scale, cap[1] * self.scale
        knots, widths = np.array(profile, dtype=np.float64).T
        position = _RAMP * ((length + after + before) / (_STEPS - 1)) - before
        position[-1] = length + after
        table = np.interp(position / length, knots, widths) * self.scale
        if before:
            outside = unit(-position / before)
            table = table * np.sqrt(1 - outside**2)
        if after:
            outside = unit((position - length) / after)
            table = table * np.sqrt(1 - outside**2)
        widest = float(table.max()) + 2
        hang = sag * self.scale
        reach_x = abs(dy) * widest + max(before, after) * abs(dx) + 1
        reach_y = abs(dx) * widest + max(before, after) * abs(dy) + hang + 1
        box = self._box(
            min(ax, bx) - reach_x, max(ax, bx) + reach_x, min(ay, by) - reach_y, max(ay, by) + reach_y
        )
        if box is None:
            return None
        rows, columns = box
        x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + np.float32(0.5 - ax)
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + np.float32(0.5 - ay)
        along = x * np.float32(dx) + y * np.float32(dy)
        across = x * np.float32(dy) - y * np.float32(dx)
        index = (along + np.float32(before)) * np.float32((_STEPS - 1) / (length + before + after))
        half = table.astype(np.float32).take(index.astype(np.intp), mode="clip")
        side = across / np.maximum(half, 0.5)
        np.minimum(np.maximum(side, -1, out=side), 1, out=side)
        front = np.sqrt(1 - side * side)
        if hang:  # seen from above, the middle of a hem hangs lower than its sides
            along = along + np.float32(hang) * (1 - front)
        edge = np.minimum(
            half - np.abs(across), np.minimum(along + np.float32(before), np.float32(length + after) - along)
        )
        shade = self._shade(side * np.float32(dy), side * np.float32(-dx), front)
        scale = np.float32(1 / self.scale)
        return Patch(rows, columns, edge, side, across * scale, along * scale, shade)

    def _shade(self, nx: Array, ny: Array, nz: Array) -> Array:
        light = self.light
        lx, ly, lz = (np.float32(c) for c in light.direction)
        lit = np.maximum(nx * lx + ny * ly + nz * lz, 0)
        return np.float32(light.ambient) + np.float32(light.directed) * lit

    def ball(
        self, centre: tuple[float, float], radii: tuple[float, float], tilt: float = 0.0
    ) -> tuple[Patch, Array, Array, Array] | None:
        """An ellipsoid: its patch, and its normal's (h, w) components x right, y down, z to the camera."""
        cx, cy = self.place(centre)
        rx, ry = radii[0] * self.scale, radii[1] * self.scale
        reach = max(rx, ry) + 2
        box = self._box(cx - reach, cx + reach, cy - reach, cy + reach)
        if box is None:
            return None
        rows, columns = box
        x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + np.float32(0.5 - cx)
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + np.float32(0.5 - cy)
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        nx, ny = (x * cos + y * sin) / np.float32(rx), (y * cos - x * sin) / np.float32(ry)
        radius = np.sqrt(nx * nx + ny * ny)
        edge = (1 - radius) * np.float32(min(rx, ry))
        outside = np.maximum(radius, 1)
        nx, ny = nx / outside, ny / outside
        nz = np.sqrt(unit(1 - nx * nx - ny * ny))
        scale = np.float32(1 / self.scale)
        patch = Patch(
            rows,
            columns,
            edge,
            nx,
            (x * scale) + 0 * y,
            (y * scale) + 0 * x,
            self._shade(nx, ny, nz),
        )
        return patch, nx, ny, nz

    def cast(self, patch: Patch, joint: float = 0.0) -> None:
        """Darken what already belongs to a person right around a part: the part's contact shadow.

        Args:
            patch: The part.
            joint: A limb's length in body heights, so that none falls where it joins the next; 0 for others.
        """
        amount = np.float32(self.light.contact)
        if amount > 0:
            region = (patch.rows, patch.columns)
            near = unit(patch.edge / np.float32(CONTACT * self.scale) + 1)
            near = near * near * self.cover[region]
            if joint:
                share = patch.along * np.float32(1 / joint)
                near = near * unit(4 * np.minimum(share, 1 - share))
            self.dim(patch, 1 - amount * near)

    def dim(self, patch: Patch, factor: Array) -> None:
        """Multiply what lies under a patch by `factor`, (h, w)."""
        self.planes[:, patch.rows, patch.columns] *= factor

    def paint(self, patch: Patch, colour: Array, mask: Array | None = None) -> None:
        """Lay a patch, or the masked share of it, over the picture; `colour` is (C,) or (C, h, w), unlit."""
        region = (patch.rows, patch.columns)
        alpha = patch.alpha if mask is None else patch.alpha * mask
        below, cover = self.planes[:, patch.rows, patch.columns], self.cover[region]
        lit = (colour[:, None, None] if colour.ndim == 1 else colour) * patch.shade
        lit -= below
        lit *= alpha
        below += lit
        cover += alpha * (1 - cover)
