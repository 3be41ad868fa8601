"""`ivreid serve` as people start it: the commands of docs/serve.md, the banner, what is refused."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from served import NIGHT, images, running, started, write_model

import ivreid
from ivreid.cli.main import main
from ivreid.datasets.features import write_features
from ivreid.serve.page import banner
from ivreid.types import Embeddings, ImageTable
from time_limits import seconds

PAGE = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")


def main_ok(*words: str) -> None:
    try:
        main(words)
    except SystemExit as left:
        assert not left.code, words


@pytest.mark.slow
def test_three_commands_lead_from_the_demo_to_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On fewer people than the demo's, by an untrained model."""
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "runs" / "demo")
    ivreid.synthesise("data/demo", layout="sysu-mm01", identities=6, images=1, size=(40, 20), workers=1)
    lines = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)[0].splitlines()
    assert len(lines) == 3 and lines[2] == "ivreid serve G"
    for line in lines[:2]:
        main_ok(*shlex.split(line)[1:])
    night = sorted((tmp_path / "data/demo/cam3").rglob("*.jpg"))[0]
    with started(tmp_path / "G") as (_, address):
        page = httpx.get(f"{address}/", trust_env=False).text
        cameras = re.findall(r'name="camera" value="(\w+)"', page)
        assert cameras == ["cam1", "cam2", "cam3", "cam4", "cam5", "cam6"]
        found = httpx.post(
            f"{address}/v1/search",
            data=NIGHT | {"gallery_modality": "visible"},
            files=images(night.read_bytes()),
            trust_env=False,
            timeout=seconds(60),
        ).json()
    visible = [path for n in (1, 2, 4, 5) for path in (tmp_path / f"data/demo/cam{n}").rglob("*.jpg")]
    assert found["searched"] == len(visible) > 10 and {
        hit["modality"] for hit in found["results"][0]["hits"]
    } == {"visible"}


def test_the_banner_says_on_how_many_people_and_when(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "model")
    model = ivreid.load(weights, device="cpu")
    rng, people = np.random.default_rng(0), 80
    pids, camids = np.repeat(np.arange(people), 4), np.tile([1, 2, 3, 4], people)
    vectors = rng.normal(size=(people, model.embedding_dim))[pids] + 0.3 * rng.normal(
        size=(len(pids), model.embedding_dim)
    )
    table = ImageTable(pids, camids, np.ones(len(pids)), camids > 2)
    write_features(tmp_path / "f.npz", Embeddings(vectors, table))
    ivreid.calibrate(tmp_path / "f.npz", fpir=0.1, searched=50, weights=weights)
    calibration = ivreid.load(weights, device="cpu").search_calibration()
    said = banner(calibration)
    assert "80 people" in said and calibration.date in said and "10.00%" in said
    assert "SYNTHETIC" not in said and "80 SYNTHETIC people" in banner(replace(calibration, synthetic=True))
    ivreid.Gallery.create(tmp_path / "G", weights, device="cpu").close()
    with running(tmp_path / "G") as (client, _):
        page = client.get("/").text
    assert "Calibrated on" in page and calibration.date in page


def test_without_the_extra_one_sentence_says_what_to_install(
    filled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "ivreid.serve.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit) as left:
        main(["serve", str(filled)])
    assert left.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said == "error: serving needs uvicorn: pip install 'ivreid[serve]'"


def test_what_cannot_be_served_is_said_at_once(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, told in (
        (("--host", "0.0.0.0"), "--token-file"),
        (("--deadline", "0"), "`deadline` is 0.0"),
        (("--token-file", str(tmp_path / "none")), "no such file"),
        (("--topology", str(tmp_path / "none.yaml")), "none.yaml"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["serve", str(filled), "--port", "0", *words])
        assert left.value.code == 2
        assert told in capsys.readouterr().err
