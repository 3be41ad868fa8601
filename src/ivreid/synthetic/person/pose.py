"""A pose: where a person heads, the phase of the walk, what the arms do; and the skeleton it makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ivreid.synthetic.appearance import Identity
from ivreid.synthetic.streams import pick

Point = NDArray[np.float64]
ARMS = ("swing", "pocket", "phone", "call", "hold")
ARM_WEIGHTS = (8.0, 0.9, 0.5, 0.3, 0.5)


@dataclass(frozen=True, slots=True)
class Pose:
    """One moment of one person.

    Attributes:
        heading: Radians; 0 faces the camera, pi/2 walks to the right of the picture, pi shows the back.
        phase: Of the walking cycle, radians.
        pace: Factor on the identity's stride, 0 for standing.
        look: The head's turn relative to the body, radians.
        nod: The head's tilt forward, radians.
        left, right: What each arm does, one of `ARMS`.
    """

    heading: float
    phase: float
    pace: float
    look: float
    nod: float
    left: str
    right: str


def draw_pose(rng: np.random.Generator, headings: tuple[float, ...], spread: float) -> Pose:
    """A pose seen by a camera past which people walk in these headings, give or take `spread` radians."""
    standing = rng.random() < 0.12
    return Pose(
        heading=float(pick(rng, headings) + rng.normal(0, spread)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        pace=0.15 if standing else float(rng.uniform(0.7, 1.15)),
        look=float(rng.normal(0, 0.25)),
        nod=float(abs(rng.normal(0.08, 0.12))),
        left=pick(rng, ARMS, ARM_WEIGHTS),
        right=pick(rng, ARMS, ARM_WEIGHTS),
    )


def _swing(angle: float, length: float) -> Point:
    """A bone hanging down, swung forward by `angle`."""
    return np.array([0.0, -np.cos(angle) * length, np.sin(angle) * length])


def _leg(identity: Identity, pose: Pose, side: int) -> dict[str, Point]:
    build = identity.build
    phase = pose.phase + (0.0 if side > 0 else np.pi)
    reach = identity.gait.stride * pose.pace
    hip_angle = reach * np.sin(phase) + 0.06 * pose.pace
    knee_bend = 0.05 + 2.0 * reach * max(0.0, float(np.cos(phase + 0.4))) ** 1.5
    hip = np.array([side * 0.048 * build.hips, 0.515 * build.legs, 0.0])
    knee = hip + _swing(hip_angle, 0.245 * build.legs)
    ankle = knee + _swing(hip_angle - knee_bend, 0.232 * build.legs)
    drop = 0.55 * knee_bend + 0.5 * max(0.0, -hip_angle)
    forward = np.array([side * 0.2, -np.sin(drop), np.cos(drop)])
    return {
        "hip": hip,
        "knee": knee,
        "ankle": ankle,
        "heel": ankle - 0.022 * forward - (0, 0.02, 0),
        "toe": ankle + 0.095 * forward - (0, 0.026, 0),
    }


def _arm(identity: Identity, pose: Pose, side: int, shoulder: Point) -> dict[str, Point]:
    gait, build = identity.gait, identity.build
    action = pose.left if side > 0 else pose.right
    phase = pose.phase + (np.pi if side > 0 else 0.0)
    lift = gait.swing * pose.pace * float(np.sin(phase))
    bend, spread, inward = gait.elbow + 0.35 * max(0.0, lift), 0.10 + 0.25 * max(0.0, build.girth - 1), 0.0
    if action == "pocket":
        lift, bend, spread, inward = -0.35, 0.75, 0.28, 0.30
    elif action == "phone":
        lift, bend, inward = 0.15, 1.75, 0.45
    elif action == "call":
        lift, bend, spread, inward = 0.35, 2.55, 0.25, 0.05
    elif action == "hold":
        lift, bend, inward = 0.1, 1.25, 0.55
    hanging = np.array([np.tan(spread) * side, -np.cos(lift), np.sin(lift)])
    elbow = shoulder + 0.168 * np.cos(spread) * hanging
    wrist = elbow + _swing(lift + bend, 0.145) + (-side * 0.145 * np.sin(inward), 0, 0)
    hand = wrist + (wrist - elbow) * 0.38
    return {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "hand": hand}


def skeleton(identity: Identity, pose: Pose) -> dict[str, Point]:
    """The joints in body coordinates: x to the person's left, y up, z forward, in average body heights.

    Keys are `neck`, `chin`, `crown`, `pelvis`, and with `l_` or `r_` before it: hip, knee, ankle, heel, toe,
    shoulder, elbow, wrist, hand.
    """
    build = identity.build
    joints: dict[str, Point] = {}
    for name, side in (("l_", 1), ("r_", -1)):
        joints.update({name + key: point for key, point in _leg(identity, pose, side).items()})
    floor = min(joints[name][1] for name in ("l_toe", "l_heel", "r_toe", "r_heel"))
    raise_by = np.array([0.0, 0.012 - floor, 0.0])
    joints = {key: point + raise_by for key, point in joints.items()}
    pelvis = (joints["l_hip"] + joints["r_hip"]) / 2
    lean = np.sin(identity.gait.lean)

    def trunk(x: float, above: float) -> Point:
        return np.asarray(pelvis + np.array([x, above, lean * above]))

    joints["pelvis"] = pelvis
    joints["neck"] = trunk(0, 0.315)
    twist = 0.06 * identity.gait.swing * np.sin(pose.phase) * pose.pace
    for name, side in (("l_", 1), ("r_", -1)):
        shoulder = trunk(side * 0.094 * build.shoulders, 0.250)
        shoulder[2] -= side * twist
        joints.update({name + key: point for key, point in _arm(identity, pose, side, shoulder).items()})
    up = np.array([0.0, np.cos(pose.nod * 0.5), np.sin(pose.nod * 0.5)])
    joints["chin"] = joints["neck"] + 0.031 * up + (0, 0, 0.012)
    joints["crown"] = joints["chin"] + 0.128 * build.head * up + (0, 0, 0.008)
    return {key: point * build.height for key, point in joints.items()}
