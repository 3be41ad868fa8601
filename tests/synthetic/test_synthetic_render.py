"""What the pictures must and must not show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_people import plain_camera, values, with_surfaces

from ivreid.synthetic.appearance import draw_identity
from ivreid.synthetic.occlude import OCCLUDERS
from ivreid.synthetic.person.canvas import Canvas, Light
from ivreid.synthetic.person.paint import paint_person
from ivreid.synthetic.person.pose import skeleton
from ivreid.synthetic.render import Moment, draw_moment, render
from ivreid.synthetic.streams import KINDS, generator, pick
from ivreid.synthetic.surface import LUMA, Band
from ivreid.synthetic.wardrobe import LOWERS, UPPERS

SIZE = (128, 64)


def shot_for(band: Band, *key: int, occluder: str = "none") -> Moment:
    return replace(draw_moment(generator(0, "shot", *key), plain_camera(band)), occluder=occluder)


def outline(pid: int, heading: float, *, seed: int = 0) -> np.ndarray:
    """The share of each pixel a person covers."""
    pose = replace(shot_for(Band.VISIBLE, pid).pose, heading=heading)
    canvas = Canvas(
        np.zeros((256, 160, 3), np.float32), 210.0, (80.0, 240.0), Light((0, 0, 1), 0.5, 0.5, 0.1, 0.4)
    )
    paint_person(canvas, draw_identity(seed, pid), pose, pitch=0.1, taper=0.05, band=Band.VISIBLE, gap=0.5)
    return canvas.cover


@pytest.mark.parametrize("occluder", OCCLUDERS)
@pytest.mark.parametrize("band", [Band.NIR, Band.THERMAL])
def test_gap_zero_is_the_grey_of_the_visible_picture(band: Band, occluder: str) -> None:
    for pid in range(1, 5):
        shot = shot_for(Band.VISIBLE, pid, occluder=occluder)
        colour = render(
            draw_identity(0, pid),
            plain_camera(Band.VISIBLE),
            replace(shot, gain=0.8),
            size=SIZE,
            seed=0,
            gap=0,
        )
        infrared = render(
            draw_identity(0, pid), plain_camera(band), replace(shot, gain=0.8), size=SIZE, seed=0, gap=0
        )
        # colours above white clip before they are mixed, so a few bright pixels may differ
        difference = np.abs(values(colour) @ LUMA - values(infrared)[..., 0])
        assert np.quantile(difference, 0.97) <= 1.5


@pytest.mark.parametrize("band", [Band.NIR, Band.THERMAL])
def test_gap_one_shows_nothing_of_visible_colour(band: Band) -> None:
    for pid in range(1, 5):
        identity, shot = draw_identity(0, pid), shot_for(band, pid)
        recoloured = with_surfaces(identity, lambda surface: replace(surface, rgb=(0.9, 0.1, 0.5)))
        pictures = [
            values(render(who, plain_camera(band), shot, size=SIZE, seed=0, gap=1.0))
            for who in (identity, recoloured)
        ]
        np.testing.assert_array_equal(*pictures)
        half = [
            values(render(w, plain_camera(band), shot, size=SIZE, seed=0, gap=0.5))
            for w in (identity, recoloured)
        ]
        assert np.abs(half[0] - half[1]).max() > 5  # at a smaller gap it does show


def test_visible_pictures_have_colour_and_infrared_ones_do_not() -> None:
    colourful = 0
    for pid in range(1, 9):
        shot = shot_for(Band.VISIBLE, pid)
        colour, infrared = (
            values(render(draw_identity(0, pid), plain_camera(band), shot, size=SIZE, seed=0, gap=0.8))
            for band in (Band.VISIBLE, Band.NIR)
        )
        assert np.ptp(infrared, axis=2).max() == 0
        colourful += bool(np.ptp(colour, axis=2).max() > 60)
    assert colourful >= 6


def test_thermal_skin_is_warmer_than_clothes_and_clothes_than_the_background() -> None:
    for pid in range(1, 13):
        identity = draw_identity(0, pid)
        assert identity.skin.base.heat > identity.inner.base.heat > 0.3
        assert identity.upper.fabric.base.heat < identity.skin.base.heat - 0.05
    thick, thin = (np.mean(UPPERS[kind].warmth) for kind in ("puffer", "tank"))
    assert thick < thin  # insulation keeps heat in
    shot = shot_for(Band.THERMAL, 5)
    with_person = values(
        render(draw_identity(0, 5), plain_camera(Band.THERMAL), shot, size=SIZE, seed=0, gap=1)
    )
    middle, rim = with_person[16:110, 24:40, 0].mean(), with_person[:, :8, 0].mean()
    assert middle > rim + 30


def test_the_infrared_lamp_falls_off_and_the_night_is_dark() -> None:
    shots = [shot_for(Band.NIR, pid) for pid in range(1, 7)]
    camera = plain_camera(Band.NIR, indoor=False)
    night = np.mean(
        [values(render(draw_identity(0, 1), camera, s, size=SIZE, seed=0, gap=1))[..., 0] for s in shots], 0
    )
    day = np.mean(
        [values(render(draw_identity(0, 1), camera, s, size=SIZE, seed=0, gap=0))[..., 0] for s in shots],
        axis=0,
    )
    corners = np.s_[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert night[corners].mean() < 0.5 * day[corners].mean()
    assert night[40:80, 26:38].mean() > 2 * night[corners].mean()


def test_material_reflectance_is_independent_of_colour() -> None:
    people = [draw_identity(7, pid) for pid in range(1, 401)]
    surfaces = [fabric.base for p in people for fabric in (p.upper.fabric, p.lower.fabric, p.shoes)]
    grey = np.array([surface.rgb for surface in surfaces]) @ LUMA
    nir = np.array([surface.nir for surface in surfaces])
    # 1,200 independent pairs: |r| stays below 0.1 with a probability beyond 0.999
    assert abs(np.corrcoef(grey, nir)[0, 1]) < 0.1
    assert nir.std() > 0.15


def test_identities_differ_in_more_than_colour() -> None:
    people = [draw_identity(1, pid) for pid in range(1, 201)]
    shapes = {
        (p.upper.kind, p.lower.kind, p.hair_style, p.bag, p.opening > 0, round(p.upper.hem, 1))
        for p in people
    }
    assert len(shapes) > 180
    assert {p.upper.kind for p in people} == set(UPPERS)
    assert {p.lower.kind for p in people} == set(LOWERS)
    men = [p for p in people if not p.female]
    assert all(p.upper.kind != "dress" and "skirt" not in p.lower.kind for p in men)
    heights = np.array([p.build.height for p in people])
    assert 0.8 < heights.min() < 0.92 < 1.06 < heights.max() < 1.25


@settings(max_examples=25, deadline=None)
@given(
    pid=st.integers(1, 5000),
    seed=st.integers(0, 50),
    heading=st.floats(-7, 7),
    phase=st.floats(0, 6.3),
    pace=st.floats(0, 1.2),
)
def test_skeletons_stand_on_the_ground_with_bones_of_constant_length(
    pid: int, seed: int, heading: float, phase: float, pace: float
) -> None:
    identity = draw_identity(seed, pid)
    pose = replace(shot_for(Band.VISIBLE, pid).pose, heading=heading, phase=phase, pace=pace)
    joints = skeleton(identity, pose)
    still = skeleton(identity, replace(pose, phase=0.3, pace=0.0))
    for side in ("l_", "r_"):
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow")):
            assert np.linalg.norm(joints[side + a] - joints[side + b]) == pytest.approx(
                np.linalg.norm(still[side + a] - still[side + b]), rel=1e-6
            )
    lowest = min(joints[side + end][1] for side in ("l_", "r_") for end in ("toe", "heel"))
    assert lowest == pytest.approx(0.012 * identity.build.height)
    assert (
        joints["crown"][1]
        > joints["neck"][1]
        > joints["pelvis"][1]
        > max(joints["l_knee"][1], joints["r_knee"][1])
    )


def test_people_look_different_from_the_front_the_side_and_the_back() -> None:
    for pid in range(1, 6):
        front, side = outline(pid, 0.0), outline(pid, np.pi / 2)
        assert front.max() == pytest.approx(1, abs=1e-5)
        chest = slice(80, 120)
        width = [float((view[chest] > 0.5).sum(axis=1).mean()) for view in (front, side)]
        assert 10 < width[1] < 90
        assert width[0] > 14
    bearer = next(pid for pid in range(1, 50) if draw_identity(0, pid).bag == "backpack")
    identity, shot = draw_identity(0, bearer), shot_for(Band.VISIBLE, 1)
    pink = replace(
        identity, bag_fabric=with_surfaces(identity.bag_fabric, lambda s: replace(s, rgb=(1.0, 0.0, 1.0)))
    )

    def pink_pixels(heading: float) -> int:
        turned = replace(shot, pose=replace(shot.pose, heading=heading))
        picture = values(render(pink, plain_camera(Band.VISIBLE), turned, size=SIZE, seed=0, gap=0))
        return int(((picture[..., 0] > 100) & (picture[..., 1] < 60) & (picture[..., 2] > 100)).sum())

    assert pink_pixels(np.pi) > 2 * pink_pixels(0.0)


@pytest.mark.parametrize("size", [(32, 16), (128, 64), (144, 180), (384, 128), (400, 80), (1024, 820)])
def test_every_allowed_size_is_drawn(size: tuple[int, int]) -> None:
    picture = render(
        draw_identity(0, 1), plain_camera(Band.NIR), shot_for(Band.NIR, 1), size=size, seed=0, gap=0.8
    )
    assert (picture.height, picture.width) == size
    assert values(picture).std() > 5


def test_generators_depend_on_every_key() -> None:
    draws = {
        (seed, kind, *ids): generator(seed, kind, *ids).integers(2**62)
        for seed in (0, 1)
        for kind in KINDS
        for ids in ((), (1,), (2,), (1, 2), (2, 1))
    }
    assert len(set(draws.values())) == len(draws)
    assert generator(3, "shot", 1, 2).random() == generator(3, "shot", 1, 2).random()


def test_pick_follows_its_weights() -> None:
    rng = np.random.default_rng(0)
    drawn = [pick(rng, ("a", "b", "c"), (1, 0, 3)) for _ in range(4000)]
    assert set(drawn) == {"a", "c"}
    assert drawn.count("c") / 4000 == pytest.approx(0.75, abs=0.03)
