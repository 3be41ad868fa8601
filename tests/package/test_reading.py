"""Text, JSON and YAML by a budget: what is sound is read as the usual readers read it, bombs are one sentence."""

from __future__ import annotations

import json
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ivreid.errors import CheckpointError, ConfigError, DataError, IvreidError
from ivreid.reading import clean, parse_json, read_bytes, read_json, read_text
from ivreid.yaml_text import MAX_BYTES, MAX_NODES, parse_yaml, read_yaml

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


def peak_of(call: Callable[[], object]) -> int:
    """Most bytes that Python held at once during the call, beyond those held before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@given(PLAIN)
def test_json_is_read_as_the_library_reads_it(value):
    text = json.dumps(value)
    assert parse_json(text, "x") == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "x is not valid JSON"),
        ("NaN", "NaN is no number"),
        ("[Infinity]", "Infinity is no number"),
        ("-1e400", "-1e400 is no finite number"),
        ("1" + "0" * 30, "larger number than fits 64 bits"),
        ("9" * 10_000, "larger number than fits 64 bits"),
        ("[" * 100_000, "nested without end"),
        ("[" * 60 + "]" * 60, "nested more than 50 deep"),
        ('{"a":' * 60 + "1" + "}" * 60, "nested more than 50 deep"),
        ("[" + "[]," * 600_000 + "[]]", "more values than any file"),
        ("[" + "1," * 4_100_000 + "1]", "more values than any file"),
        (r'{"a": "\uD800"}', "half a character"),
        (r'{"\udfff": 1}', "half a character"),
        ("\x1b[2J", "not valid JSON"),
    ],
)
def test_json_that_no_program_of_ours_writes_is_one_sentence(text, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        parse_json(text, "x", error=CheckpointError)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()
    assert parse_json(r'["\ud83d\ude00"]', "x") == ["\U0001f600"]


def test_json_bombs_are_refused_before_they_are_built():
    text = "[" + "{}," * 20_000_000 + "{}]"

    def read():
        with pytest.raises(DataError):
            parse_json(text, "x")

    assert peak_of(read) < 1 << 20
    largest = "[" + '{"a":1},' * 250_000 + "1]"
    assert peak_of(lambda: parse_json(largest, "x")) < 200 << 20


def test_files_are_read_up_to_a_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(DataError, match="longer than 4 bytes"):
        read_bytes(tmp_path / "a", 4)
    with pytest.raises(ConfigError, match=r"cannot read .*none: No such file"):
        read_bytes(tmp_path / "none", error=ConfigError)
    with pytest.raises(DataError, match=r"cannot read .*Is a directory"):
        read_bytes(tmp_path)
    for name in ("a\0b", "x" * 300, "a\ud800"):
        with pytest.raises(DataError, match="cannot read") as caught:
            read_bytes(tmp_path / name)
        assert str(caught.value).isprintable()


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device here")  # noqa: PTH110
@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_a_device_that_never_ends_is_refused(read):
    with pytest.raises(IvreidError, match="/dev/zero is longer than"):
        read("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes by name here")
def test_a_pipe_is_read_like_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("epochs: 3",))
    writer.start()
    assert read_yaml(tmp_path / "pipe") == {"epochs": 3}
    writer.join()


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
def test_text_of_any_usual_coding(coding, tmp_path):
    data = b"\xff\xfe" + "ä: 1".encode("utf-16-le") if coding.endswith("bom") else "ä: 1".encode(coding)
    (tmp_path / "a").write_bytes(data)
    assert read_text(tmp_path / "a") == "ä: 1"
    (tmp_path / "a").write_bytes(b"ab\xe4")
    with pytest.raises(DataError, match=r"a is not UTF-8 text \(byte 3\)"):
        read_text(tmp_path / "a")


def test_clean_shows_foreign_text_safely():
    assert clean("a\x1b[2J\nb\ud800") == "a?[2J?b?"
    assert clean("x" * 300) == "x" * 200 + "..."
    assert clean(Path("a/" * 200 + "b.npz")) == "..." + "a/" * 96 + "b.npz"


@given(PLAIN)
def test_yaml_is_read_as_the_library_reads_it(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    assert parse_yaml(text, "x") == yaml.safe_load(text)


def test_anchors_and_merges_are_fine():
    text = "base: &b {lr: 1, size: [1, 2]}\none: {<<: *b, lr: 2}\ntwo: *b\n"
    assert parse_yaml(text, "x") == yaml.safe_load(text)


def bomb(levels: int, line: str) -> str:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]" if "{" not in line else "a0: &a0 {x: 1}"]
    rows += [f"a{n}: &a{n} " + line.replace("@", f"*a{n - 1}") for n in range(1, levels)]
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("2024-05-01", "2024-05-01"), ("2024-05-01 10:00:00", "2024-05-01 10:00:00")),  # a folder's name
        *(("010x", "010x"), ("'010'", "010"), ("08", "08"), ("01", 1), ("0", 0), ("-0", 0), ("00", 0)),
        *(("0x10", 16), ("1_000", 1000), ("0.5", 0.5), ("1e-4", "1e-4"), ("12", 12), ("C:\\new", "C:\\new")),
    ],
)
def test_what_yaml_makes_of_numbers_and_dates(text, value):
    assert parse_yaml(f"a: {text}", "x") == {"a": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(9, "[@, @, @, @, @, @, @, @, @, @]"), f"more than {MAX_NODES:,} values, line 5"),
        (bomb(30, "{<<: [@, @, @, @]}"), f"more than {MAX_NODES:,} values"),
        ("a: &a [*a]", "an alias stands inside itself, line 1"),
        ("&a {b: *a}", "an alias stands inside itself"),
        ("[" * 5_000, "nested without end"),
        ("x: 1\n" * 2 + "a: [", "not valid YAML"),
        ("a: 1\na: 2", "key 'a' stands twice, line 2"),
        ("a: 1\nb: 2024-99-99", "'2024-99-99' looks like a number or a date, but is none; quote it, line 2"),
        ("a: 0x_", "looks like a number"),
        ("a: 0b_", "looks like a number"),
        ("a: !!int abc", "looks like a number"),
        ("a: !!float x", "looks like a number"),
        ("a: !!timestamp soon", "looks like a number"),
        ("a: !!bool soon", "looks like a number"),
        ("a: " + "9" * 5_000, "looks like a number"),
        ("a: 1" + ":59" * 60_000, "looks like a number"),
        ("a: 2001-12-14t21:59:43+99:99", "looks like a number"),
        ("a: 010", "'010' is the number 8 in YAML, for a leading zero makes it octal; write 10, or quote it"),
        ("a: -0_0377", "is the number -255 in YAML, .*; write 377"),
        ("a: [0256, 0128]", "'0256' is the number 174 in YAML"),
        ("a: 1:30", "'1:30' is the number 90 in YAML, for colons separate digits of base 60; write 90"),
        ("a: 1:30.5", "is the number 90.5 in YAML"),
        ('a: "\\ud800"', "holds a character that no text has"),
        ('a: "b\\0"', "holds a character that no text has"),
        ("a: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("? [a]\n: b", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("a\0", "not valid YAML"),
    ],
)
def test_yaml_that_is_none_or_too_much_is_one_sentence(text, message):
    def read():
        with pytest.raises(ConfigError, match=message) as caught:
            parse_yaml(text, "x")
        assert len(str(caught.value)) < 300
        assert str(caught.value).isprintable()

    assert peak_of(read) < 200 << 20


def test_the_largest_yaml_stays_within_the_budget(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("[" + "1," * (MAX_BYTES // 2 - 2) + "]")

    def read():
        with pytest.raises(ConfigError, match="values"):
            read_yaml(file)

    assert peak_of(read) < 256 << 20
    file.write_text("# " + "x" * MAX_BYTES)
    with pytest.raises(ConfigError, match="longer than"):
        read_yaml(file)


def test_errors_are_fit_to_be_shown():
    error = ConfigError("a\x1b[2Jb\u202e: " + "x" * 100_000 + "end\nnext")
    first, second = str(error).split("\n")
    assert first.startswith("a?[2Jb?: xxx") and first.endswith("xxend") and len(first) == 1005
    assert second == "next"
    assert error.on_a_screen() == str(error)
    long = DataError("\n".join(map(str, range(100))))
    assert str(long).count("\n") == 99
    assert long.on_a_screen().split("\n")[-2:] == ["38", "... and 61 more lines"]
    assert DataError("\n".join("abc" * 13 + "d")).on_a_screen().endswith("\nd")
