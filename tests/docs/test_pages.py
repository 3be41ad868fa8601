"""What the documentation names is there; what it shows runs."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import ivreid
from ivreid.cli.main import VERBS

ROOT = Path(__file__).parents[2]
PACKAGE = Path(ivreid.__file__).parent
PAGES = sorted((ROOT / "docs").glob("*.md"))


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_files_that_a_page_names_are_there(path):
    rooms = "|".join(sorted(entry.name for entry in PACKAGE.iterdir() if entry.is_dir()))
    named = set(re.findall(rf"`((?:{rooms})/[\w/]+\.py)`", path.read_text(encoding="utf-8")))
    assert not {name for name in named if not (PACKAGE / name).is_file()}
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert not {link for link in links if not (path.parent / link).exists()}


def test_the_walk_of_one_image_names_a_file_at_every_step():
    walks = page("architecture.md").split("## One image, from file to ")[1:3]
    assert [walk.partition("\n")[0] for walk in walks] == ["figure", "gradient"]
    for walk in walks:
        steps = re.split(r"\n(?=\d+\. )", walk.partition("\n## ")[0])[1:]
        assert len(steps) >= 9
        assert all(re.search(r"`\w+/\w+\.py`", step) for step in steps)


def test_the_rooms_are_those_of_the_import_contract_in_its_order():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["id"] == "rooms")
    ranks = {room.strip(): rank for rank, layer in enumerate(layers) for room in layer.split("|")}
    rows = re.findall(r"^\| (`[^|]+`) \|", page("architecture.md"), flags=re.M)
    listed = [name.strip("`/ ") for row in rows for name in row.split(",")]
    rooms = [name for name in listed if name in ranks]
    assert set(rooms) == set(ranks)
    folders = [name for name in rooms if (PACKAGE / name).is_dir()]
    assert [ranks[name] for name in folders] == sorted(ranks[name] for name in folders)
    parts = {
        entry.stem
        for entry in PACKAGE.iterdir()
        if entry.suffix == ".py" or (entry / "__init__.py").is_file()
    }
    assert parts - {"__init__", "__main__"} == set(ranks)  # none stands outside the contract


def test_every_verb_is_a_public_call():
    rows = dict(re.findall(r"^\| `([\w ]+)` \| (.+) \|$", page("python.md"), flags=re.M))
    assert {verb.split()[0] for verb in rows} == set(VERBS)
    for verb, row in rows.items():
        calls = re.findall(r"ivreid\.(\w+)", row)
        assert calls and all(hasattr(ivreid, call) or find_spec(f"ivreid.{call}") for call in calls), verb
    rooms = {entry.name for entry in PACKAGE.iterdir()} | {entry.stem for entry in PACKAGE.iterdir()}
    assert not set(ivreid.__all__) & rooms  # a public name never hides a room, nor a room a name


@pytest.mark.slow
def test_the_story_in_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", page("python.md"), flags=re.S)
    exec(compile(code, "docs/python.md", "exec"), {})
    assert len(re.findall(r"SYSU-MM01.*Rank-1 \d+\.\d% ± \d+\.\d%", capsys.readouterr().out)) == 2
    assert (tmp_path / "run" / "report.html").is_file()


def test_scoring_in_a_loop_of_ones_own_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", page("protocols.md"), flags=re.S)
    (code,) = (block for block in blocks if "ivreid.score(" in block)
    names = {}
    exec(compile(code, "docs/protocols.md", "exec"), names)
    assert "SYSU-MM01, indoor-search" in capsys.readouterr().out
    assert names["result"].title.endswith("distances as given")


@pytest.mark.slow
def test_each_part_in_a_loop_of_ones_own_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", page("own-loop.md"), flags=re.S)
    assert len(blocks) == 6
    for code in blocks:
        exec(compile(code, "docs/own-loop.md", "exec"), names)
    assert names["result"].protocol == "regdb"
