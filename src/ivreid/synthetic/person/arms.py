"""Arms, sleeves and hands."""

from __future__ import annotations

from ivreid.synthetic.person.body import Body

UPPER_ARM, ELBOW, WRIST, HAND = 0.032, 0.026, 0.019, 0.021
"""Half-widths of an average bare arm, in body heights."""


def add_arms(body: Body) -> None:
    """Collect both arms: skin first, the sleeve over it, the hand at its end."""
    identity = body.identity
    upper = identity.upper
    size = identity.build.height * (0.55 + 0.45 * identity.build.girth)
    ease = upper.ease * 0.6
    for name in ("l_", "r_"):
        shoulder, elbow, wrist, hand = (
            body.joints[name + key] for key in ("shoulder", "elbow", "wrist", "hand")
        )
        middle = (shoulder + elbow) / 2
        # an arm beside the trunk covers its rim; one behind the back does not
        depth = body.view.depth(middle) * 1.4 + 0.02
        fore = (
            max(depth + 0.002, body.view.depth(hand) * 1.2)
            if depth > 0
            else min(depth + 0.002, body.view.depth(hand))
        )
        body.limb(fore + 0.001, wrist, hand, (WRIST * size, HAND * size), identity.skin)
        if upper.sleeve < 0.9:
            body.limb(fore, elbow, wrist, (ELBOW * size, WRIST * size), identity.skin)
            body.limb(depth, shoulder, elbow, (UPPER_ARM * size, ELBOW * size), identity.skin)
            if upper.sleeve > 0.08:
                end = shoulder + (elbow - shoulder) * min(1.0, upper.sleeve * 1.9)
                radii = (UPPER_ARM * size + ease, UPPER_ARM * size + ease * 1.3)
                body.limb(depth + 0.001, shoulder, end, radii, identity.sleeves, open_end=True)
        else:
            cuff = elbow + (wrist - elbow) * upper.sleeve
            body.limb(
                fore + 0.002,
                elbow,
                cuff,
                (ELBOW * size + ease, WRIST * size + ease * 0.8),
                identity.sleeves,
                open_end=True,
            )
            body.limb(
                depth, shoulder, elbow, (UPPER_ARM * size + ease, ELBOW * size + ease), identity.sleeves
            )
