"""The import contract that import-linter cannot state: no two files import each other."""

import ast
from pathlib import Path

import ivreid

ROOT = Path(ivreid.__file__).parent


def imports(file: Path, modules: frozenset[str]) -> set[str]:
    """Modules of the package that a file imports anywhere: in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= members & modules or {node.module}
            if not members <= modules:
                found.add(node.module)
    return found & modules


def test_no_two_files_import_each_other() -> None:
    files = {
        ".".join(("ivreid", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in ROOT.rglob("*.py")
    }
    modules = frozenset(files)
    arrows = {name: imports(path, modules) - {name} for name, path in files.items()}
    assert len(arrows) > 100
    assert "ivreid.types" in arrows["ivreid.metrics.outcomes"] | arrows["ivreid.datasets.base"]
    circles = sorted((a, b) for a, there in arrows.items() for b in there if a < b and a in arrows[b])
    assert not circles
