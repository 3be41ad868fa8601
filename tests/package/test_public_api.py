"""The flat namespace is deliberate: its names, and what importing it may load."""

import inspect
import subprocess
import sys

import pytest

import ivreid

NAMES = [
    "Answers",
    "Dataset",
    "Embedder",
    "Embeddings",
    "Gallery",
    "ImageTable",
    "IvreidError",
    "Modality",
    "Protocol",
    "Ranking",
    "Result",
    "Sample",
    "calibrate",
    "check_dataset",
    "compare_results",
    "compare_runs",
    "crop_frames",
    "embed_folder",
    "evaluate",
    "evaluate_run",
    "examine_machine",
    "export_model",
    "import_checkpoint",
    "init_dataset",
    "list_runs",
    "load",
    "load_config",
    "load_dataset",
    "load_plugin",
    "make_protocol",
    "rank",
    "read_features",
    "register_augmentation",
    "register_dataset",
    "register_method",
    "register_protocol",
    "reproduce",
    "run_demo",
    "run_study",
    "score",
    "score_features",
    "synthesise",
    "train",
    "tune",
    "verify_files",
    "write_comparison",
    "write_features",
    "write_model_card",
    "write_report",
]


def test_public_names_are_exactly_these():
    assert sorted(ivreid.__all__) == NAMES == dir(ivreid)


@pytest.mark.parametrize("name", NAMES)
def test_public_names_exist_and_are_documented(name):
    doc = inspect.getdoc(getattr(ivreid, name))
    assert doc and len(doc.splitlines()[0]) > 15


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ivreid.nonsense


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); {statement}\nprint(*sorted({{m.split('.')[0] for m in set(sys.modules) - before}}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def third_party(modules: set[str]) -> set[str]:
    return {m for m in modules if m not in sys.stdlib_module_names and not m.startswith("_")}


def test_import_loads_nothing_heavy():
    assert third_party(loaded_after("import ivreid")) == {"ivreid"}


def test_scoring_loads_no_torch():
    allowed = {"ivreid", "numpy", "scipy", "PIL", "charset_normalizer", "cython_runtime"}
    statement = "import ivreid; ivreid.evaluate, ivreid.make_protocol, ivreid.read_features, ivreid.load_dataset, ivreid.rank"
    assert third_party(loaded_after(statement)) <= allowed


def test_help_loads_no_numpy():
    loaded = loaded_after("from ivreid.cli.main import build_app; build_app(None)")
    assert not loaded & {"numpy", "torch", "PIL", "scipy"}


def test_showing_the_help_loads_nothing_heavy():
    shown = "contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit)"
    loaded = loaded_after(
        f"import contextlib, io; from ivreid.cli import main\nwith {shown}: main(['--help'])\n"
    )
    assert "rich" in loaded and not loaded & {"numpy", "torch", "PIL", "scipy", "pydantic", "yaml"}
