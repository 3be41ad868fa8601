"""What is taken in by name, what is refused in one sentence, and what a record says of it."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from plugin_text import DATASET, METHOD, PROTOCOL

import ivreid
from ivreid import catalogue
from ivreid.catalogue import DATASETS, METHODS, PROTOCOLS, REGISTRIES
from ivreid.cli.main import main
from ivreid.cli.terminal import set_talk
from ivreid.datasets import Reader
from ivreid.errors import IvreidError, UsageError
from ivreid.methods import Method
from ivreid.methods.iv_reid import IVReID
from ivreid.plugins import blamed, load_plugin
from ivreid.protocols import Protocol, make_protocol

NOT_BY_NAME = {"FixedTrial", "MixedGallery", "OpenSet"}
"""Classes that only a function makes, of another protocol."""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("kind", "base"), [("method", Method), ("dataset", Reader), ("protocol", Protocol)], ids=str
)
def test_every_class_of_ours_is_listed_by_its_name(kind: str, base: type) -> None:
    registry = REGISTRIES[kind]
    package = importlib.import_module(registry.group)
    found = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            own = isinstance(value, type) and issubclass(value, base) and value.__module__ == module.name
            if own and not getattr(value, "__abstractmethods__", ()) and value.__name__ not in NOT_BY_NAME:
                found[value.name] = value
    assert dict(registry) == found
    assert all(registry.origin(name) is None for name in found)


@pytest.mark.parametrize(
    ("text", "names"), [(METHOD, {"mine"}), (DATASET, {"night"}), (PROTOCOL, {"patrol"})], ids=["m", "d", "p"]
)
def test_a_plugin_is_known_everywhere_and_loaded_once(text: str, names: set[str], tmp_path: Path) -> None:
    before = {name for registry in REGISTRIES.values() for name in registry}
    path = write(tmp_path / "mine.py", "print('loaded')\n" + text)
    load_plugin(path)
    assert {name for registry in REGISTRIES.values() for name in registry} == before | names
    kind, registry = next((k, r) for k, r in REGISTRIES.items() if names <= set(r))
    (name,) = names
    found = registry[name]
    load_plugin(path)
    assert registry[name] is found
    (record,) = catalogue.provenance(**{kind: name})
    assert (record["kind"], record["name"], record["source"]) == (kind, name, "mine.py")
    assert len(record["sha256"]) == 64
    assert catalogue.changes([record]) == []
    assert catalogue.asked_for([record]) == ""
    load_plugin(write(path, path.read_text(encoding="utf-8") + "# another version\n"))
    assert registry[name] is not found
    (line,) = catalogue.changes([record])
    assert line.startswith(f"mine.py, where the {kind} '{name}' comes from, has changed since the training: ")
    assert f"sha256 {record['sha256'][:12]}... then, " in line
    moved = {**record, "source": "old.py"}
    assert catalogue.changes([moved])[0].startswith(f"the {kind} '{name}' came from old.py (sha256")


def test_the_second_load_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "mine.py", "print('loaded')\n" + METHOD)
    load_plugin(path)
    load_plugin(path)
    assert capsys.readouterr().out == "loaded\n"


def test_the_hash_is_of_the_file_that_holds_the_class(site: Path, tmp_path: Path) -> None:
    """A plugin may import a package that registers; a second plugin that registers nothing is none."""
    site.mkdir()
    write(site / "far_away.py", METHOD)
    plugin = write(tmp_path / "mine.py", "import far_away\n")
    load_plugin(plugin)
    load_plugin(plugin)
    (record,) = catalogue.provenance(method="mine")
    assert record["source"] == "far_away.py"
    with pytest.raises(UsageError, match="it registers nothing"):
        load_plugin(write(tmp_path / "empty.py", "x = 1\n"))


def test_functions_are_called_as_the_toolkit_calls_them() -> None:
    for base, function, message in (
        (
            Method,
            "parameter_groups",
            r"the method Odd: parameter_groups must take \(lr\) after self, it takes \(self\)",
        ),
        (Reader, "read", r"the dataset Odd: read must take \(tree, trial\)"),
        (Protocol, "trials", r"the protocol Odd: trials must take \(images\)"),
    ):
        own = {name: lambda *arguments: None for name in base.__abstractmethods__}  # type: ignore[attr-defined]
        odd = {
            **own,
            "name": "odd",
            "citation": "none",
            "Settings": IVReID.Settings,
            function: lambda self: None,
        }
        made = type("Odd", (base,), odd)
        made = dataclass(frozen=True)(made) if base is Protocol else made
        with pytest.raises(UsageError, match=message):
            REGISTRIES[{Method: "method", Reader: "dataset", Protocol: "protocol"}[base]].register(made)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nx / 0\n", r"mine.py cannot be used: line 2: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
        ("def f(:\n", "line 1: invalid syntax"),
        ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("x = 1\n", "it registers nothing; put @ivreid.register_method"),
        (METHOD.replace('"mine"', '"iv-reid"'), "the name of the method 'iv-reid' is taken by ivreid itself"),
        (METHOD.replace('"mine"', '"My method"'), "Mine needs a `name` of small letters"),
        (
            METHOD + "    def forward(self, images, labels, infrared): ...\n",
            r"the method Mine: forward must take \(images, labels, infrared, view\) after self, it takes",
        ),
        (METHOD + "    Settings = dict\n", "lacks `Settings` derived from MethodSettings"),
        (METHOD + "    citation = None\n", "lacks `citation`, a text"),
        (METHOD.replace("(IVReID)", ""), "Mine is no method: it must be a class derived from Method"),
        (METHOD + "x = 1 +\n", "invalid syntax"),
        (METHOD + "raise ValueError('late')\n", "ValueError: late"),
        ("import ivreid\n@ivreid.register_method\ndef f(): ...\n", "f is no method"),
        (DATASET.replace("def read(", "def reads("), "the dataset Night lacks read"),
        (
            DATASET.replace('("day", "night")\n\n', '"day"\n\n'),
            "`recognised_by` must be a tuple of str, not 'day'",
        ),
        (DATASET + "    def __init__(self, x): ...\n", "cannot be made without arguments"),
        (PROTOCOL.replace("@dataclass(frozen=True)\n", ""), r"Patrol needs @dataclass\(frozen=True\)"),
        (PROTOCOL.replace('{"room"', '{"roof"'), "has `choices` for roof, but no such field"),
        (PROTOCOL.replace("def trials", "def trial"), "the protocol Patrol lacks trials"),
        (PROTOCOL.replace('"identity"', '"person"'), "default_cmc 'person' must be"),
        (b"\xff\xfe\x00x = 1", "cannot be used"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_sentence_and_leaves_nothing(
    text: str | bytes, message: str, tmp_path: Path
) -> None:
    before = {kind: list(registry) for kind, registry in REGISTRIES.items()}
    modules = set(sys.modules)
    path = tmp_path / "mine.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=message) as caught:
        load_plugin(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert {kind: list(registry) for kind, registry in REGISTRIES.items()} == before
    assert not {name for name in set(sys.modules) - modules if name.startswith("ivreid_plugin")}


def test_what_is_no_plugin_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a plugin is a Python file, FILE.py"):
        load_plugin(write(tmp_path / "mine.txt", METHOD))
    with pytest.raises(UsageError, match=r"cannot read .*none.py: No such file"):
        load_plugin(tmp_path / "none.py")


def test_two_classes_of_one_name_and_a_cell_that_runs_again() -> None:
    first = type("Mine", (IVReID,), {"name": "mine", "__module__": "notebook"})
    again = type("Mine", (IVReID,), {"name": "mine", "__module__": "notebook"})
    other = type("Other", (IVReID,), {"name": "mine", "__module__": "notebook"})
    assert ivreid.register_method(first) is first
    assert ivreid.register_method(again) is again
    assert METHODS["mine"] is again
    with pytest.raises(UsageError, match="the name of the method 'mine' is taken by Mine of this session"):
        ivreid.register_method(other)
    assert METHODS["mine"] is again
    with METHODS.holding(type("Brief", (IVReID,), {"name": "brief"})):
        assert "brief" in METHODS
    assert "brief" not in METHODS
    assert "mine" in METHODS


def test_an_unknown_name_says_how_to_bring_ones_own() -> None:
    with pytest.raises(UsageError, match=r"did you mean iv-reid\? known: iv-reid"):
        METHODS.find("iv-redi")
    with pytest.raises(UsageError, match=r"unknown dataset 'zzz'; known: sysu-mm01, .*loaded with --plugin"):
        DATASETS.find("zzz")


def test_a_datasets_protocol_is_its_own_that_of_its_name_or_the_plain_one(tmp_path: Path) -> None:
    load_plugin(write(tmp_path / "a.py", DATASET))
    load_plugin(write(tmp_path / "b.py", PROTOCOL))
    assert make_protocol("night", trial=3).name == "cross-modality"
    assert make_protocol("patrol", room="yard").options == {"room": "yard", "cmc": "identity"}
    for wrong, message in (({"room": "roof"}, "it takes hall, yard"), ({"trial": 2}, "no option trial")):
        with pytest.raises(UsageError, match=message):
            make_protocol("patrol", **wrong)
    named = DATASET.replace('"night"\n    reco', '"night"\n    protocol = "patrol"\n    reco')
    load_plugin(write(tmp_path / "a.py", named))
    assert make_protocol("night", room="yard").title == "Patrol, yard"
    load_plugin(write(tmp_path / "a.py", named.replace('"patrol"', '"patrl"')))
    with pytest.raises(UsageError, match=r"unknown protocol 'patrl'; did you mean patrol\?"):
        make_protocol("night")


def test_records_of_anyone_are_read_safely() -> None:
    hostile: list[Any] = [None, 3, {}, {"kind": []}, {"kind": "method", "name": 3, "source": "x"}]
    hostile += [
        {"kind": "method", "name": "a", "source": "x", "sha256": 4},
        {"kind": "x", "name": "a", "source": "b"},
    ]
    assert catalogue.changes(hostile) == []
    assert catalogue.asked_for(hostile) == catalogue.asked_for("text") == catalogue.asked_for(None) == ""
    sound = {"kind": "method", "name": "gone\x1b[2J", "source": "mine.py", "sha256": "ab" * 32}
    asked = catalogue.asked_for([sound])
    assert (
        "the method 'gone?[2J' came from mine.py (sha256 abababababab...): give that file again with" in asked
    )
    package = {"kind": "dataset", "name": "gone", "source": "extra 1.2"}
    assert catalogue.asked_for([package]) == "the dataset 'gone' came from extra 1.2: install it"


# Installed packages


def install(folder: Path, package: str, entries: dict[str, dict[str, str]], modules: dict[str, str]) -> None:
    """What pip leaves: modules, and a folder that names the entry points."""
    info = folder / f"{package.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    lines = [
        line
        for group, found in entries.items()
        for line in (f"[{group}]", *(f"{k} = {v}" for k, v in found.items()))
    ]
    write(info / "entry_points.txt", "\n".join(lines) + "\n")
    for name, text in modules.items():
        write(folder / f"{name}.py", text)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = (
        tmp_path / f"site-{uuid4().hex}"
    )  # a temporary folder may have been another test's; what it offers is cached
    monkeypatch.syspath_prepend(folder)
    return folder


def test_what_a_package_raises_in_use_is_one_sentence_with_its_name(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = DATASET.replace("@ivreid.register_dataset\n", "").replace(
        "        found, sizes = [], {}\n", "        import json\n        json.loads('{')\n"
    )
    install(
        site, "ivreid-extra", {"ivreid.datasets": {"night": "extra_broken:Night"}}, {"extra_broken": text}
    )
    line = 1 + text[: text.index("json.loads")].count("\n")
    for words, shown in ((["data", "check", "night", str(tmp_path)], False), (["--verbose"], True)):
        with pytest.raises(SystemExit) as left:
            main(["data", "check", "night", str(tmp_path), *words[4:], *(["--verbose"] if shown else [])])
        assert left.value.code == 2
        err = capsys.readouterr().err
        assert (
            f"error: the dataset 'night' of ivreid-extra 1.2 failed, line {line} of extra_broken.py: JSONDecodeError: "
            "Expecting property name"
        ) in " ".join(err.split())
        assert ("Traceback" in err) is shown
    set_talk(quiet=False, verbose=False)


def test_a_package_that_leaves_python_when_it_is_loaded_is_one_sentence(site: Path) -> None:
    install(
        site,
        "ivreid-extra",
        {"ivreid.methods": {"gone": "extra_gone:Gone"}},
        {"extra_gone": "raise SystemExit(3)"},
    )
    with pytest.raises(
        UsageError, match=r"'gone' of the package ivreid-extra 1\.2 cannot be loaded: SystemExit: 3"
    ):
        METHODS.find("gone")


def test_a_bug_of_ours_is_blamed_on_nobody() -> None:
    try:
        METHODS.register(3)
    except Exception as error:
        assert blamed(error) is None
    assert blamed(ValueError("raised nowhere")) is None


def test_a_package_offers_names_and_is_loaded_when_one_is_used(site: Path) -> None:
    install(
        site,
        "ivreid-extra",
        {"ivreid.methods": {"mine": "extra_mine:Mine"}, "ivreid.datasets": {"night": "extra_night:Night"}},
        {"extra_mine": METHOD, "extra_night": DATASET.replace("@ivreid.register_dataset\n", "")},
    )
    assert "mine" in METHODS and "night" in list(DATASETS)
    assert not {"extra_mine", "extra_night"} & set(sys.modules)
    assert METHODS["mine"].name == "mine"
    assert "extra_night" not in sys.modules
    assert catalogue.provenance(method="mine", dataset="night", protocol="regdb") == [
        {"kind": kind, "name": name, "source": "ivreid-extra 1.2", "sha256": None}
        for kind, name in (("method", "mine"), ("dataset", "night"))
    ]
    other = type("Other", (IVReID,), {"name": "mine"})
    with pytest.raises(UsageError, match=r"'mine' is taken by ivreid-extra 1\.2"):
        ivreid.register_method(other)


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("broken", "1 / 0", r"the method 'broken' of the package ivreid-extra 1\.2 cannot be loaded: Zero"),
        ("absent", "x = 1", "cannot be loaded: AttributeError"),
        (
            "other",
            METHOD,
            r"the method 'other' of the package .* calls itself 'mine'; both names must be one",
        ),
        ("iv-reid", METHOD, r"the packages ivreid-extra 1\.2 and ivreid both offer a method 'iv-reid'"),
        ("mine", METHOD.replace("(IVReID)", ""), "Mine is no method"),
    ],
)
def test_a_package_that_does_not_fit_is_one_sentence(
    name: str, module: str, message: str, site: Path
) -> None:
    place = f"unfit_{name.replace('-', '_')}"
    install(site, "ivreid-extra", {"ivreid.methods": {name: f"{place}:Mine"}}, {place: module})
    assert name in METHODS
    with pytest.raises(IvreidError, match=message) as caught:
        METHODS.find(name)
    assert "\n" not in str(caught.value)


def test_two_packages_of_one_name(site: Path) -> None:
    for package in ("one", "two"):
        entries = {"ivreid.protocols": {"patrol": f"extra_{package}:Patrol"}}
        install(site, package, entries, {f"extra_{package}": PROTOCOL})
    with pytest.raises(
        UsageError, match=r"the packages (one|two) 1\.2 and (one|two) 1\.2 both offer a protocol"
    ):
        PROTOCOLS.find("patrol")


def test_help_lists_every_name_and_loads_neither_torch_nor_a_package(site: Path) -> None:
    install(
        site,
        "ivreid-extra",
        {"ivreid.methods": {"mine": "extra_help:Mine"}},
        {"extra_help": "raise SystemExit('loaded')"},
    )
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from ivreid.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'extra_help', 'ivreid.methods'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for kind, registry in REGISTRIES.items():
        assert (f"{kind.capitalize()}s: {', '.join(registry)}" in done.stdout) == bool(registry)
    assert "mine" in METHODS
