"""The documentation site: complete, built without a warning, and its first days walked as they stand."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import ivreid
from ivreid.cli.main import VERBS, main
from ivreid.config import describe_keys

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tools"))

import docs_reference  # noqa: E402


def blocks(page: str) -> list[tuple[str, str]]:
    """Language ("" for the shell) and text of each block of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.S | re.M)


def walk(page: str, changes: dict[str, str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run every block of a page in the working directory; returns what was printed."""
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, page, "exec"), {})
            continue
        for line in text.splitlines():
            command = line
            for old, new in changes.items():
                command = command.replace(old, new)
            program, *words = shlex.split(command, comments=True)
            assert program == "ivreid", line
            try:
                main(words)
            except SystemExit as leaving:
                assert not leaving.code, (line, capsys.readouterr().err)
    return capsys.readouterr().out


def test_every_page_is_in_the_contents() -> None:
    text = re.sub(r"!!python\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(re.findall(r"[\w/-]+\.md", str(yaml.safe_load(text)["nav"])))
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert listed == written | {f"reference/{name}" for name, _ in docs_reference.pages()}


def test_the_reference_holds_every_verb_key_and_call() -> None:
    made = dict(docs_reference.pages())
    assert re.findall(r"^## ivreid ([\w-]+)$", made["command-line.md"], flags=re.M) == list(VERBS)
    assert "| `--draw` | SYSU-MM01: how galleries are drawn" in made["command-line.md"]
    keys = re.findall(r"^\| `([^`]+)` \|", made["configuration.md"], flags=re.M)
    assert keys == [key.name for key in describe_keys()]
    assert len(re.findall(r"^::: ivreid\.", made["python.md"], flags=re.M)) == len(ivreid.__all__)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed: pip install 'ivreid[docs]'")
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]* src="https?://', text), page.name
        assert not re.findall(r'<link[^>]* rel="stylesheet"[^>]* href="https?://', text), page.name


def test_the_first_day_with_features_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out = walk("start-features.md", {}, capsys)
    assert r"\begin{tabular}" in out and (tmp_path / "indoor.json").is_file()


@pytest.mark.slow
def test_the_first_day_with_sysu_mm01(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the page says for a laptop, on fewer and smaller pictures."""
    monkeypatch.chdir(tmp_path)
    tiny = " --set epochs=1 --set data.size=[48,24] --set batch={identities: 2, instances: 2} --set data.workers=0"
    tiny = tiny.replace("batch={identities: 2, instances: 2}", "'batch={identities: 2, instances: 2}'")
    changes = {
        "--identities 40 --images 4 --size 96x48": "--identities 12 --images 2 --size 48x24 --workers 1",
        "--recipe iv-reid ": "--recipe iv-reid-compact ",
        "--recipe agw ": "--recipe agw-compact ",
        "--out runs/iv-reid": f"--out runs/iv-reid{tiny}",
        "--out runs/agw": f"--out runs/agw{tiny}",
    }
    out = walk("start-sysu-mm01.md", changes, capsys)
    assert "no problems found" in out and "SYSU-MM01" in out
    assert (tmp_path / "two.html").stat().st_size > 10_000
