"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python_block() -> str:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)[0]


def test_the_block_is_about_ten_lines():
    assert 8 <= sum(bool(line.strip()) for line in python_block().splitlines()) <= 12


@pytest.mark.slow
def test_the_block_runs(readme_run, capsys):
    run_dir, visible, infrared = readme_run
    code = python_block().replace("runs/demo", str(run_dir))
    names = {"visible_photos": visible, "infrared_photos": infrared}
    exec(compile(code, "README.md", "exec"), names)
    assert names["gallery"].shape[0] == len(visible)
    assert names["ranking"].indices.shape == (len(infrared), 5)
    assert re.search(r"SYSU-MM01.*Rank-1 \d+\.\d% ± \d+\.\d%", capsys.readouterr().out)


@pytest.fixture
def readme_run(tmp_path):
    from ivreid.config import load_config
    from ivreid.evaluation import evaluate_run
    from ivreid.synthetic import synthesise
    from ivreid.training import train

    root = tmp_path / "data"
    synthesise(root, layout="sysu-mm01", identities=12, images=3, size=(32, 16), seed=1, workers=1)
    (tmp_path / "tiny.yaml").write_text(
        f"out: {tmp_path / 'run'}\nepochs: 1\ndata: {{root: {root}, size: [32, 16]}}\n"
        "batch: {identities: 2, instances: 2}\nmethod: {name: iv-reid, backbone: test_resnet, pretrained: null}\n"
    )
    train(load_config(tmp_path / "tiny.yaml"))
    evaluate_run(tmp_path / "run", settings=[{"draw": "agw"}])
    return tmp_path / "run", sorted(root.glob("cam1/*/*.jpg")), sorted(root.glob("cam3/*/*.jpg"))
