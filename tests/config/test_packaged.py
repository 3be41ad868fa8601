"""Configurations that come with the package are found by name, from anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ivreid
from ivreid.config import dump_config
from ivreid.errors import ConfigError, UsageError
from ivreid.packaged import packaged_names, packaged_text

CONFIGS = {path.stem: path for path in (Path(__file__).parents[2] / "configs").glob("*.yaml")}


def test_they_are_the_files_of_the_repository():
    assert {"demo", "llcm", "regdb", "sysu-mm01"} <= set(packaged_names()) == set(CONFIGS)
    assert list(packaged_names()) == sorted(CONFIGS)
    for name, path in CONFIGS.items():
        assert packaged_text(name) == path.read_text(encoding="utf-8")


def test_the_package_holds_no_link():
    assert not [path for path in Path(ivreid.__file__).parent.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_name_loads_like_its_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = ivreid.load_config(name, ["epochs=3"])
    assert found.epochs == 3
    assert dump_config(found) == dump_config(ivreid.load_config(CONFIGS[name], ["epochs=3"]))


def test_a_file_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("regdb").write_text("epochs: 7\n")
    assert ivreid.load_config("regdb").epochs == 7
    Path("llcm").mkdir()  # a dataset's folder, say
    assert ivreid.load_config("llcm").data.dataset == "llcm"


@pytest.mark.parametrize("wrong", ["sysu-mm02", "configs/sysu-mm01.yaml", "absent.yaml", "configs/demo"])
def test_an_unknown_one_names_those_there_are(wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot read .*known: demo, llcm, regdb, sysu-mm01") as caught:
        ivreid.load_config(wrong)
    assert ("did you mean sysu-mm01?" in str(caught.value)) is ("sysu" in wrong)


def test_an_unknown_name_has_no_text():
    with pytest.raises(UsageError, match=r"'regdbb'.*did you mean regdb"):
        packaged_text("regdbb")


def test_an_error_in_an_override_names_the_configuration():
    with pytest.raises(
        ConfigError, match=r"demo with --set epoch=3: epoch: unknown key; did you mean epochs"
    ):
        ivreid.load_config("demo", ["epoch=3"])


def test_listing_them_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from ivreid.cli.main import main\n"
        "for words in (['config', 'list'], ['config', 'show', 'demo']):\n"
        "    try: main(words)\n"
        "    except SystemExit: pass\n"
        "print(sorted({'torch', 'timm', 'ivreid.methods'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "sysu-mm01" in done.stdout
