"""What the guides say about code of one's own works as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from plugin_text import DATASET

import ivreid
from ivreid.catalogue import METHODS, PROTOCOLS
from ivreid.cli.main import main
from ivreid.datasets import DATASETS
from ivreid.plugins import load_plugin
from ivreid.testing import check_dataset, check_method

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> int:
    """A command's exit status."""
    with pytest.raises(SystemExit) as leaving:
        main(list(words))
    return int(leaving.value.code or 0)


def blocks(page: str, heading: str, language: str = "python") -> list[str]:
    """A page's blocks of code under a heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = text.split(f"# {heading}\n", 1)[1]
    section = re.split(r"\n#{1,3} ", section, maxsplit=1)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.S)


@pytest.mark.parametrize("source", ["iv_reid", "agw"])
def test_a_method_is_one_file_copied(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's own commands, on fewer people."""
    copy, sed, draw, train, evaluate = blocks("methods.md", "Adding a method", "")[0].strip().splitlines()
    copy = copy.partition("#")[0].replace("src/", f"{ROOT}/src/").replace("iv_reid", source)
    sed = sed.replace("IVReID", "IVReID" if source == "iv_reid" else "AGW").replace(
        '"iv-reid"', f'"{source.replace("_", "-")}"'
    )
    for command in (copy, sed):
        subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    tiny = draw.replace("--identities 40 --images 4 --size 96x48", "--identities 12 --images 2 --size 32x16")
    assert tiny != draw and run(*tiny.split()[1:], "--workers", "1") == 0
    small = (
        "data={size: [32, 16], workers: 0, root: people}",
        "batch={identities: 2, instances: 2}",
        "augment={padding: 2}",
        "epochs=1",
        f"method.backbone={'test_resnet' if source == 'agw' else 'test_efficientnet'}",
        "device=cpu",
    )
    words = shlex.split(train)[1:]
    assert run(*words, *(word for one in small for word in ("--set", one))) == 0
    assert run(*evaluate.split()[1:], "--draw", "agw") == 0
    assert (tmp_path / "runs" / "mine" / "results.json").is_file()
    check_method(METHODS["mine"])
    assert METHODS["mine"].__name__ == "Mine"


def test_the_sweep_and_the_parts_run_as_the_guide_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, *_ = blocks("methods.md", "The sweep that ours must pass")
    text = (ROOT / "src/ivreid/methods/iv_reid.py").read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(text.replace("IVReID", "Mine").replace('"iv-reid"', '"mine"'))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    exec(compile(sweep, "docs/methods.md", "exec"), {})
    del sys.modules["mine"]
    parts = "\n".join(blocks("methods.md", "Parts of networks"))
    names: dict[str, object] = {}
    exec(compile(parts, "docs/methods.md", "exec"), names)
    assert names["widths"] == (96, 96, 192, 384, 768)
    options = yaml.safe_load(blocks("methods.md", "Options", "yaml")[0])
    assert ivreid.load_config(None, [f"method={yaml.safe_dump(options['method'], default_flow_style=True)}"])


def test_a_reader_is_one_file_copied(tmp_path: Path) -> None:
    text = (ROOT / "src/ivreid/datasets/folder.py").read_text(encoding="utf-8")
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        text.replace('name = "folder"', 'name = "mine"').replace("recognised_by =", "seen_in =")
    )
    load_plugin(plugin)
    check_dataset(DATASETS["mine"])


def test_the_protocol_of_the_guide_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    (code,) = blocks("protocols.md", "A protocol of your own")
    plugin = tmp_path / "mine.py"
    plugin.write_text(code + DATASET.replace("import ivreid\n", ""), encoding="utf-8")
    ids = np.array([(pid, camid) for pid in (1, 2, 3) for camid in (1, 2, 3)])
    vectors = np.eye(3)[ids[:, 0] - 1] + np.linspace(0, 0.1, 27).reshape(9, 3)
    infrared = np.where(ids[:, 1] < 3, "infrared", "visible")
    np.savez(
        tmp_path / "f.npz",
        embeddings=vectors,
        pids=ids[:, 0],
        camids=ids[:, 1],
        frames=np.ones(9, int),
        modality=infrared,
    )
    score = ("score", str(tmp_path / "f.npz"), "--plugin", str(plugin), "--protocol", "patrol")
    for mode in ("hall", "yard"):
        assert run(*score, "--mode", mode) == 0
        out = capsys.readouterr().out
        assert f"Patrol, {mode}, image CMC" in out and "3 queries x 3 images" in out
    assert run(*score, "--mode", "roof") == 2
    assert "mode 'roof' does not fit patrol; it takes hall, yard" in capsys.readouterr().err
    assert PROTOCOLS["patrol"].choices == {"mode": ("hall", "yard")}

    setting = ["data.dataset=night", "evaluation=[{mode: yard}]"]
    night = DATASETS["night"]
    night.protocol = "patrol"
    assert ivreid.load_config(None, setting).evaluation[0].mode == "yard"
    with pytest.raises(
        ivreid.IvreidError, match=r"evaluation\.0\.mode: 'all' does not fit night; it takes hall, yard"
    ):
        ivreid.load_config(None, [setting[0], "evaluation=[{mode: all}]"])
    with pytest.raises(
        ivreid.IvreidError, match=r"evaluation\.1\.shots: 5 does not fit sysu-mm01; it takes 1, 10"
    ):
        ivreid.load_config(None, ["evaluation=[{}, {shots: 5}]"])
