"""The default gap: colour alone must not carry identity across modalities (and without a gap it does)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest

from ivreid.synthetic import DEFAULT_GAP
from ivreid.synthetic.dataset_request import DatasetRequest
from ivreid.synthetic.generate import draw_picture, plan_dataset
from ivreid.synthetic.surface import Band

pytestmark = pytest.mark.slow
PEOPLE, GALLERY = 100, 25


@dataclass(frozen=True)
class Colours:
    """Per picture: colour statistics and who, which camera, which modality."""

    features: dict[str, np.ndarray]
    pids: np.ndarray
    cameras: np.ndarray
    infrared: np.ndarray


@lru_cache(maxsize=4)
def measure(layout: str, gap: float) -> Colours:
    request = DatasetRequest(layout, PEOPLE, 2, (48, 24), seed=11, gap=gap)
    planned = plan_dataset(request)
    pictures = [
        np.asarray(draw_picture(request, planned, p).resize((24, 48)), float) for p in planned.pictures
    ]
    return Colours(
        features={
            "mean colour": np.array([p.mean(axis=(0, 1)) for p in pictures]),
            "mean colour of the person": np.array([p[6:42, 6:18].mean(axis=(0, 1)) for p in pictures]),
            "histogram": np.array([np.histogram(p.mean(axis=2), 16, (0, 255))[0] for p in pictures], float),
        },
        pids=np.array([p.pid for p in planned.pictures]),
        cameras=np.array([list(planned.cameras).index(p.camera) for p in planned.pictures]),
        infrared=np.array([planned.cameras[p.camera].band is not Band.VISIBLE for p in planned.pictures]),
    )


def standardised(features: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Each camera's own exposure and tint taken out: the best a matcher of colours could do."""
    out = features.copy()
    for camera in np.unique(cameras):
        rows = cameras == camera
        out[rows] = (out[rows] - out[rows].mean(axis=0)) / (out[rows].std(axis=0) + 1e-6)
    return out


def times_chance(colours: Colours, name: str, query: np.ndarray, gallery: np.ndarray, *, fair: bool) -> float:
    """Rank-1 of the nearest colours over what a blind guess reaches.

    Each of many galleries holds one picture per camera of as many people as the demonstration tests.
    """
    features = standardised(colours.features[name], colours.cameras) if fair else colours.features[name]
    rng = np.random.default_rng(0)
    found = guessed = 0.0
    for _ in range(60):
        people = np.isin(colours.pids, rng.choice(np.unique(colours.pids), GALLERY, replace=False))
        order = rng.permutation(np.flatnonzero(gallery & people))
        _, first = np.unique(np.stack([colours.pids, colours.cameras])[:, order], axis=1, return_index=True)
        shown, asked = order[first], np.flatnonzero(query & people)
        distance = np.linalg.norm(features[asked][:, None] - features[shown][None], axis=2)
        allowed = colours.cameras[asked][:, None] != colours.cameras[shown][None]
        right = colours.pids[asked][:, None] == colours.pids[shown][None]
        nearest = np.where(allowed, distance, np.inf).argmin(axis=1)
        found += right[np.arange(len(asked)), nearest].sum()
        guessed += ((right & allowed).sum(axis=1) / allowed.sum(axis=1)).sum()
    return float(found / guessed)


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("name", ["mean colour", "mean colour of the person", "histogram"])
@pytest.mark.parametrize("layout", ["sysu-mm01", "regdb"])
def test_colour_matches_across_modalities_no_better_than_twice_chance(
    layout: str, name: str, fair: bool
) -> None:
    colours = measure(layout, DEFAULT_GAP)
    infrared = colours.infrared
    assert times_chance(colours, name, infrared, ~infrared, fair=fair) <= 2
    assert times_chance(colours, name, ~infrared, infrared, fair=fair) <= 2


def test_colour_does_match_between_visible_cameras() -> None:
    colours = measure("sysu-mm01", DEFAULT_GAP)
    visible = ~colours.infrared
    assert times_chance(colours, "mean colour of the person", visible, visible, fair=True) > 4


def test_without_a_gap_the_same_measure_finds_people() -> None:
    closed = measure("sysu-mm01", 0.0)
    assert times_chance(closed, "histogram", closed.infrared, ~closed.infrared, fair=True) > 2.5
