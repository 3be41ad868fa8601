"""Every `--help`: it ends with examples, they are commands that exist, and it says every letter of its text."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from ivreid.catalogue import REGISTRIES
from ivreid.cli.examples import EXAMPLES
from ivreid.cli.main import VERBS, build_app
from ivreid.packaged import packaged_names


def commands() -> Iterator[str]:
    """Every command as typed after `ivreid`, walked from what is really registered."""
    yield ""
    for verb in VERBS:
        yield from walk(verb, group(verb).commands[verb])


def walk(words: str, command: Any) -> Iterator[str]:
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(f"{words} {name}", inner)


def group(verb: str) -> Any:
    return typer.main.get_command(build_app(verb))


ALL = list(commands())
LINES = [(command, line) for command, lines in EXAMPLES.items() for line in lines]


def words_of(line: str) -> list[str]:
    """What the shell hands to the program: continued lines joined, nothing behind a redirection."""
    words = shlex.split(line.replace("\\\n", " "))
    return words[1 : words.index(">")] if ">" in words else words[1:]


def parse(words: list[str]) -> dict[str, Any]:
    """The values of the innermost command, parsed as a call would and run by nobody."""
    command = group(words[0])
    context = command.make_context("ivreid", list(words))
    while hasattr(command, "commands"):
        _, command, words = command.resolve_command(context, words)
        context = command.make_context(command.name, list(words), parent=context)
        if hasattr(command, "commands"):
            assert words, "a group alone shows its help"
    return dict(context.params)


def test_the_table_of_examples_holds_every_command_and_no_other():
    assert len(ALL) > 35
    assert sorted(EXAMPLES) == sorted(ALL)


@pytest.mark.parametrize("command", ALL)
def test_a_help_ends_with_its_examples_unbroken_on_80_columns(ivreid, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    done = ivreid(*command.split(), "--help")
    assert done.status == 0, done.err
    shown = [line.strip() for line in done.out.rstrip().splitlines()]
    expected = [line.strip() for example in EXAMPLES[command] for line in example.splitlines()]
    assert expected and expected[0].startswith("ivreid ")
    assert shown[-len(expected) :] == expected
    assert shown[-len(expected) - 1] in ("Example:", "Examples:")


@pytest.mark.parametrize(("command", "line"), LINES)
def test_an_example_is_a_command_that_parses(command, line):
    assert all(len(one) <= 78 for one in line.splitlines())
    words = words_of(line)
    if words[-1] == "--help":
        assert words[0] in VERBS
        return
    values = parse(words)
    chosen = {"recipe": "method", "method": "method", "protocol": "protocol", "from_": "method"}
    for option, kind in chosen.items():
        if isinstance(values.get(option), str):
            assert values[option] in REGISTRIES[kind]
    if command in ("train", "tune") and values.get("config") is not None:
        assert Path(values["config"]).suffix == ".yaml" or str(values["config"]) in packaged_names()


@pytest.mark.parametrize(
    "words",
    [["score", "--protokol", "x"], ["data", "chekc", "x"], ["gallery", "create"], ["embed", "a", "b"]],
)
def test_the_parser_of_this_test_refuses_what_the_program_does(words):
    with pytest.raises(Exception, match=r"(?i)no such|missing|\nExample: "):
        parse(words)


@pytest.mark.parametrize(
    ("verb", "letters"),
    [("serve", "'ivreid[serve]'"), ("export", "'ivreid[export]'"), ("gallery export", "'ivreid[parquet]'"),
     ("gallery", "'ivreid[parquet]'"),
     ("tune", "'ivreid[tune]'"), ("embed", "'ivreid[ray]'")],
)  # fmt: skip
def test_brackets_in_a_help_are_no_markup(ivreid, verb, letters):
    done = ivreid(*verb.split(), "--help")
    assert letters in "".join(done.out.replace("│", "")).replace("\n", " ").replace("  ", "")


@pytest.mark.parametrize("verb", ["init", "compare", "train"])
def test_paragraphs_are_as_wide_as_the_terminal(ivreid, monkeypatch, verb):
    """Lines broken in the source and again at 80 columns would be ragged: long, short, long, short."""
    monkeypatch.setenv("COLUMNS", "80")
    text = ivreid(verb, "--help").out.split("╭")[0]
    for paragraph in text.split("\n" + " " * 80 + "\n"):
        lines = [line.strip() for line in paragraph.strip().splitlines()]
        for line, after in pairwise(lines):
            assert len(line) + 1 + len(after.split()[0]) > 78 - 2, (line, after)


@pytest.mark.parametrize("command", ["config list", "config show", "doctor"])
def test_examples_that_need_no_data_run(ivreid, command):
    for line in EXAMPLES[command]:
        if "runs/" not in line and "--clean" not in line:
            done = ivreid(*words_of(line))
            assert done.status == 0 and done.out, done.err


def test_examples_on_synthetic_data_run(ivreid, tiny_data, tiny_run, tmp_path, monkeypatch):
    """With the names of the examples standing for the tiny dataset, a copy of the run, and a few crops."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SYSU-MM01").symlink_to(tiny_data)
    for name in ("agw", "a"):
        shutil.copytree(tiny_run, tmp_path / "runs" / name)
    crops, track = tmp_path / "crops" / "gate", tmp_path / "track"
    for folder in (crops, track):
        folder.mkdir(parents=True)
    rows = ["path,camera,time,modality,pid"]
    for at, file in enumerate(sorted((tiny_data / "cam1").glob("*/*.jpg"))[:8]):
        shutil.copy(file, crops / f"{at}.jpg")
        rows.append(f"{at}.jpg,gate,2026-03-01T2{at % 3}:0{at}+01:00,visible,{at}")
    (crops / "manifest.csv").write_text("\n".join(rows) + "\n")
    for at, file in enumerate(sorted((tiny_data / "cam3").glob("*/*.jpg"))[:3]):
        shutil.copy(file, track / f"{at}.jpg")
    (tmp_path / "photos").symlink_to(track)
    Image.open(track / "0.jpg").save(tmp_path / "night.png")
    left_out = {
        "ivreid gallery add G photos --camera yard --modality visible --time exif"
    }  # no EXIF is drawn
    for command in (
        *("data", "runs", "embed", "card", "gallery create", "gallery add"),
        *("gallery info", "gallery show", "search", "gallery delete", "gallery erase", "gallery export"),
        *("gallery copy", "gallery verify", "gallery expire"),
    ):
        for line in EXAMPLES[command]:
            if line not in left_out:
                done = ivreid(*words_of(line))
                assert done.status == 0, (line, done.err)
                if command == "embed":
                    shutil.copy("photos.npz", "night.npz")  # what the example of a search by features reads


def test_a_list_of_names_that_is_empty_is_left_out(ivreid, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert not REGISTRIES["augmentation"] and "Datasets: sysu-mm01" in ivreid("--help").out
    for words in ((), ("train",), ("data", "check")):
        assert "Augmentations:" not in ivreid(*words, "--help").out


@pytest.mark.parametrize("command", ALL)
def test_what_is_required_is_in_no_brackets_of_its_own(ivreid, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "200")
    usage = next(line for line in ivreid(*command.split(), "--help").out.splitlines() if "Usage:" in line)
    assert "{[" not in usage and "[[" not in usage and "...]..." not in usage
