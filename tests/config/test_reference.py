"""The list of keys and the JSON Schema say what the configuration itself accepts."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

import ivreid
from ivreid.config import Config, config_schema, describe_keys, dump_config, make_config, packaged_names
from ivreid.errors import UsageError
from ivreid.methods import METHODS

SCHEMA = Draft202012Validator(config_schema())
VALUES = (
    None,
    True,
    False,
    -1,
    0,
    1,
    0.5,
    3,
    10**6,
    -0.5,
    1e9,
    "",
    "adam",
    "no such word",
    [],
    [1],
    [16, 32],
    [0.5, 0.25, 0.125],
    {},
    {"x": 1},
)


def leaves(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def with_value(key, value):
    tree = {}
    *parents, last = key.split(".")
    inner = tree
    for parent in parents:
        inner = inner.setdefault(parent, {})
    inner[last] = value
    return tree


def faults(tree):
    """Kinds of pydantic's complaints; "value_error" is a rule of our own."""
    found = set()
    for model, part in ((Config, tree), (METHODS["iv-reid"].Settings, tree.get("method", {}))):
        try:
            model.model_validate(part)
        except ValidationError as error:
            found |= {one["type"] for one in error.errors()}
    return found


@pytest.mark.parametrize("method", METHODS)
def test_the_keys_are_those_of_a_resolved_configuration_with_its_defaults(method):
    listed = {key.name: key for key in describe_keys(method=method)}
    default = dict(leaves(dump_config(make_config({"method": {"name": method}}))))
    assert {name for name in listed if "[]" not in name and "data.synthetic." not in name} == set(default)
    resolved_later = {"method.last_stride", "method.stem_relu"}  # null means: by the backbone
    for name in set(default) - resolved_later:
        assert json.loads(listed[name].default) == default[name], name


@pytest.mark.parametrize("method", METHODS)
def test_every_key_says_what_it_means(method):
    for key in describe_keys(method=method):
        assert len(key.meaning) >= 10 and key.type not in ("", "None"), key


def test_sections_that_may_be_absent_and_entries_of_lists_are_listed():
    listed = {key.name: key for key in describe_keys("data.synthetic")}
    assert listed["data.synthetic"].type == "a section or null" and listed["data.synthetic"].default == "null"
    assert listed["data.synthetic.identities"].default is None
    assert listed["data.synthetic.seed"].default == "0"
    assert [key.name for key in describe_keys("evaluation[]")] == [
        f"evaluation[].{name}" for name in ("mode", "shots", "draw", "direction", "rerank")
    ]


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("epochs", "whole number >= 1"),
        ("augment.flip", "number 0 to 1"),
        ("optimizer.lr", "number > 0"),
        ("data.size", "[whole number 8 to 4096, whole number 8 to 4096]"),
        ("data.root", "path or null"),
        ("data.cache", "true or false"),
        ("validation.select", "validation | published-test | last"),
        ("schedule.milestones", "list, each whole number >= 1"),
        ("evaluation", "list, each a section"),
    ],
)
def test_types_are_said_for_people(key, kind):
    assert describe_keys(key)[0].type == kind


def test_an_unknown_key_or_method_is_answered_with_a_close_one():
    with pytest.raises(UsageError, match=r"no key starts with 'optimizer\.rate'.*optimizer\."):
        describe_keys("optimizer.rate")
    with pytest.raises(UsageError, match="unknown method 'iv-raid'; did you mean iv-reid"):
        describe_keys(method="iv-raid")


def test_the_schema_is_one_and_takes_every_packaged_and_resolved_configuration():
    Draft202012Validator.check_schema(config_schema())
    for name in packaged_names():
        SCHEMA.validate(dump_config(ivreid.load_config(name)))
    for name in METHODS:
        SCHEMA.validate(dump_config(make_config({"method": {"name": name}})))
    assert not SCHEMA.is_valid({"method": {"name": "iv-raid"}})
    assert not SCHEMA.is_valid({"method": {"margin": -1}})  # the default method is meant
    assert not SCHEMA.is_valid({"method": {"merging": 1}})


KEYS = [
    key.name
    for key in describe_keys()
    if "[]" not in key.name and "synthetic" not in key.name and key.name != "method.name"
]


@pytest.mark.parametrize("key", KEYS)
def test_the_schema_refuses_what_the_configuration_refuses(key):
    """But for rules over several keys, and for 0 and 1, which stand for false and true."""
    switch = "true or false" in describe_keys(key)[0].type
    for value in VALUES:
        tree = with_value(key, value)
        found = faults(tree)
        if SCHEMA.is_valid(tree):
            assert found <= {"value_error"}, (key, value)
        else:
            assert found or (switch and value in (0, 1)), (key, value)


@pytest.mark.parametrize("section", sorted({key.rpartition(".")[0] for key in KEYS}))
def test_an_unknown_key_is_refused_in_every_section(section):
    assert not SCHEMA.is_valid(with_value(f"{section}.no_such_key".lstrip("."), 1))


def test_the_commands_print_them(capsys, tmp_path):
    def call(*words):
        with pytest.raises(SystemExit) as left:
            main(["config", *map(str, words)])
        return left.value.code, *capsys.readouterr()

    from ivreid.cli import main
    from ivreid.config import packaged_text

    code, out, _ = call("list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(packaged_names())
    assert all(len(line.split()) > 5 for line in out.splitlines())
    assert call("show", "sysu-mm01")[:2] == (0, packaged_text("sysu-mm01"))
    code, out, _ = call("keys", "optimizer")
    assert code == 0
    assert out.splitlines()[2:4] == [
        "optimizer.lr",
        "    number > 0; default 0.0001. The base learning rate.",
    ]
    assert len(call("keys")[1].splitlines()) == 2 * len(describe_keys())
    assert json.loads(call("schema")[1]) == config_schema()
    assert call("schema", "--out", tmp_path / "schema.json")[:2] == (0, "")
    assert json.loads((tmp_path / "schema.json").read_text(encoding="utf-8")) == config_schema()
    code, _, err = call("show", "sysu")
    assert code == 2 and "did you mean sysu-mm01?" in err
