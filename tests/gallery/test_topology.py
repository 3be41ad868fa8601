"""Travel times between cameras: what the file may say, and what is concluded from it."""

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.errors import ConfigError, IvreidError
from ivreid.gallery.topology import Sighting, Topology, gate, parse_topology, read_topology

TEXT = """
travel:
  - between: [gate, yard]
    least: 20
    most: 900
  - from: yard
    to: roof
    least: 60
  - {from: roof, to: yard, most: 30.5}
  - {between: [yard, yard], least: 5}
"""
T0 = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)


def at(camera, seconds, length=None):
    time = T0 + timedelta(seconds=seconds)
    return Sighting(camera, time, None if length is None else time + timedelta(seconds=length))


def verdict(topology, first, second):
    found = topology.travel(first, second)
    return found.verdict, found.seconds


def test_a_file_says_both_ways_or_one(tmp_path):
    (tmp_path / "topology.yaml").write_text(TEXT)
    found = read_topology(tmp_path / "topology.yaml")
    inf = float("inf")
    assert found.links == {
        ("gate", "yard"): (20, 900),
        ("yard", "gate"): (20, 900),
        ("yard", "roof"): (60, inf),
        ("roof", "yard"): (0, 30.5),
        ("yard", "yard"): (5, inf),
    }
    assert found.unknown_to(["gate", "yard", "door"]) == ["roof"]


def test_verdicts_go_from_the_earlier_to_the_later_sighting():
    found = parse_topology(TEXT)
    assert verdict(found, at("gate", 0), at("yard", 19.9)) == ("too soon", 19.9)
    assert verdict(found, at("gate", 0), at("yard", 20)) == ("plausible", 20)
    assert verdict(found, at("yard", 900), at("gate", 0)) == ("plausible", 900)  # the hit came first
    assert verdict(found, at("gate", 0), at("yard", 901)) == ("too late", 901)
    assert verdict(found, at("yard", 0), at("roof", 30)) == ("too soon", 30)
    assert verdict(found, at("yard", 30), at("roof", 0)) == ("plausible", 30)  # from roof to yard
    assert verdict(found, at("yard", 0), at("yard", 3)) == ("too soon", 3)
    assert verdict(found, at("gate", 0), at("gate", 3)) == ("plausible", 3)  # the same camera, nothing said
    assert verdict(found, at("gate", 0), at("roof", 3)) == ("unknown", 3)
    assert verdict(found, None, at("roof", 3)) == ("unknown", None)
    # a tracklet's end counts, and sightings that overlap are no time apart
    assert verdict(found, at("gate", 0, 15), at("yard", 30)) == ("too soon", 15)
    assert verdict(found, at("gate", 0, 50), at("yard", 30)) == ("too soon", 0)
    # zones do not matter, instants do
    east = Sighting("yard", (T0 + timedelta(seconds=25)).astimezone(timezone(timedelta(hours=9))))
    assert verdict(found, at("gate", 0), east) == ("plausible", 25)


def test_every_verdict_has_a_sentence_with_the_times():
    found = parse_topology(TEXT)
    assert (
        found.travel(at("gate", 0), at("yard", 3)).why
        == "3 s from gate to yard: too soon, it takes at least 20 s"
    )
    late = found.travel(at("gate", 0), at("yard", 93784)).why
    assert late == "1 d 2 h from gate to yard: too late, it takes at most 15 min"
    assert "no travel time is given for this pair" in found.travel(at("gate", 0), at("roof", 0)).why
    assert found.travel(at("gate", 0), at("yard", 60)).to_json() == {
        "verdict": "plausible",
        "seconds": 60.0,
        "why": "1 min from gate to yard: plausible",
    }


def test_a_gate_says_what_it_leaves_out_also_where_it_is_nothing():
    found = parse_topology(TEXT)
    hits = [at("yard", 3), at("yard", 60), at("yard", 1000), at("roof", 9), at("gate", 1)]
    travels = [found.travel(at("gate", 0), hit) for hit in hits]
    assert gate(travels) == (
        [1, 3, 4],
        "travel times left out 2 of 5 hits (1 too soon, 1 too late); 1 could not be judged and stay",
    )
    assert gate(travels[1:2])[1].startswith("travel times left out 0 of 1 hits")
    assert gate([]) == (
        [],
        "travel times left out 0 of 0 hits (0 too soon, 0 too late); 0 could not be judged and stay",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs one key, `travel`"),
        ("travel: 3", "needs one key, `travel`"),
        ("travel: []", "lists no pair"),
        ("travels: []", "needs one key"),
        ("travel: [3]", "pair 1 is 3"),
        (
            "travel: [{between: [a, b], least: 1, moost: 2}]",
            "pair 1 has an unknown key 'moost'; did you mean most",
        ),
        ("travel: [{between: [a], least: 1}]", "needs either `between"),
        ("travel: [{between: [a, b], from: a, least: 1}]", "needs either `between"),
        ("travel: [{from: a, least: 1}]", "needs either `between"),
        ("travel: [{between: [a, b]}]", "neither `least` nor `most`"),
        ("travel: [{between: [a, b], least: -1}]", "`least` is -1"),
        ("travel: [{between: [a, b], least: .nan}]", "`least` is nan"),
        ("travel: [{between: [a, b], least: .inf}]", "`least` is inf"),
        ("travel: [{between: [a, b], most: 1e12}]", "`most` is"),
        ("travel: [{between: [a, b], most: true}]", "`most` is True"),
        ("travel: [{between: [a, b], most: soon}]", "`most` is 'soon'"),
        ("travel: [{between: [a, b], least: 9, most: 3}]", "at least 9 and at most 3"),
        ("travel: [{between: [a, 1.5], least: 9}]", "a camera's name is text, got 1.5"),
        ("travel: [{between: [a, ' b'], least: 9}]", "the camera is ' b'"),
        (
            "travel: [{between: [a, b], least: 9}, {from: b, to: a, most: 3}]",
            "pair 2: the way from b to a stands twice",
        ),
        ("travel: [{between: [a, b], least: 1:30}]", "colons"),
        ("travel: [{between: [a, b", "not valid YAML"),
        ("travel: !!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
def test_what_a_file_may_not_say(text, words):
    with pytest.raises(ConfigError, match=words.replace("[", r"\[").replace("(", r"\(")):
        parse_topology(text)


def test_numbers_are_names_of_cameras_too():
    assert parse_topology("travel: [{between: [1, 2], least: 9}]").cameras == {"1", "2"}


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_damaged_text_is_told_and_nothing_else(seed):
    rng, text = random.Random(seed), list(TEXT)
    for _ in range(rng.randint(1, 8)):
        text[rng.randrange(len(text))] = rng.choice("[]{}:,-&*!|>'\"%@\0\t\n 09azé\ud800")
    try:
        found = parse_topology("".join(text))
    except IvreidError as error:
        assert str(error)
    else:
        assert isinstance(found, Topology) and all(0 <= least <= most for least, most in found.links.values())
