"""Change the source in one place at a time and see whether a test notices: `make mutants`.

    python tools/mutants.py --module training/schedule            every mutant of one module
    python tools/mutants.py --seed 3 --count 40                   forty of each module, drawn at random

A mutant lives when every test of its module passes; tests that use a name of the changed file run first.
Survivors are printed with their line; either a test is missing, or the change makes no difference, which is then
to be written down with its reason. Each mutant runs in a copy of the package, so the checkout never changes.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is there
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "ivreid"

SAMPLING = [
    "tests/data/test_sampler.py",
    "tests/data/test_method_samplers.py",
    "tests/data/test_as_pytorch.py",
]
AUGMENTATION = [
    "tests/data/test_augment_by_hand.py",
    "tests/data/test_augment.py",
    "tests/data/test_augment_views.py",
    "tests/training/test_exact_steps.py",
    "tests/training/test_own_augmentation.py",
]
TESTS = {
    "metrics": ["tests/metrics", "tests/protocols", "tests/analysis"],
    "protocols": ["tests/protocols"],
    "losses": ["tests/losses"],
    "data/sampler": SAMPLING,
    "data/planning": SAMPLING,
    "data/augment": AUGMENTATION,
    "data/erasing": AUGMENTATION,
    "training/schedule": ["tests/training/test_parts.py", "tests/training/test_said_not_refused.py"],
}
"""Modules where a wrong figure would be silent, and the tests that must notice."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div},
    **{
        ast.Lt: ast.LtE,
        ast.LtE: ast.Lt,
        ast.Gt: ast.GtE,
        ast.GtE: ast.Gt,
        ast.Eq: ast.NotEq,
        ast.NotEq: ast.Eq,
    },
    **{ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.USub: ast.UAdd},
}


def variants(tree: ast.Module) -> Iterator[tuple[int, str, ast.Module]]:
    """Every mutant of a module: line, what was done, the changed tree. Messages and annotations stay."""
    for number, node in enumerate(ast.walk(tree)):
        for what, change in _changes(node):
            mutant = copy.deepcopy(tree)
            change(next(one for index, one in enumerate(ast.walk(mutant)) if index == number))
            yield getattr(node, "lineno", 0), what, ast.fix_missing_locations(mutant)


def _changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    for field in ("op", "ops"):
        found = getattr(node, field, None)
        old = found[0] if isinstance(found, list) and found else found
        if type(old) in SWAPS and not _is_annotation(node):
            new = SWAPS[type(old)]
            yield (
                f"{type(old).__name__} -> {new.__name__}",
                lambda one, f=field, n=new: setattr(
                    one, f, [n(), *getattr(one, f)[1:]] if f == "ops" else n()
                ),
            )
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield f"{node.value} -> {node.value + 1}", lambda one: setattr(one, "value", one.value + 1)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", lambda one: setattr(one, "value", not one.value)
    if isinstance(node, ast.If | ast.IfExp):
        yield "condition -> not condition", lambda one: setattr(one, "test", ast.UnaryOp(ast.Not(), one.test))


def _is_annotation(node: ast.AST) -> bool:
    """`int | None` in a type is no computation."""
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.BitOr)
        and isinstance(node.right, ast.Constant | ast.Name)
    )


def tests_by_nearness(module: Path, places: list[str]) -> list[list[str]]:
    """The test files of a module in two rounds: those that use a name of it, then the others."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    files = [
        file
        for place in map(ROOT.joinpath, places)
        for file in (sorted(place.rglob("test_*.py")) if place.is_dir() else [place])
    ]
    words = {file: set(re.findall(r"\w+", file.read_text(encoding="utf-8"))) for file in files}
    near = [str(file) for file in files if words[file] & {*names, module.stem}]
    return [one for one in (near, [str(file) for file in files if str(file) not in near]) if one]


def survives(work: tuple[Path, str, list[list[str]]]) -> bool:
    """Whether every test passes with this source in the module's place; in a process that does nothing else."""
    module, source, rounds = work
    with tempfile.TemporaryDirectory() as folder:
        copied = shutil.copytree(PACKAGE, Path(folder) / "ivreid")  # with what is compiled, which stays valid
        (copied / module.relative_to(PACKAGE)).write_text(source, encoding="utf-8")
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = folder  # for processes that the tests start
        os.chdir(ROOT)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", f"--basetemp={folder}/tests"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what is imported already
        # 5: nothing is left of a file when its slow tests are left out
        return all(pytest.main([*options, *tests]) in (0, 5) for tests in rounds)


def main() -> int:
    """Run the mutants; exit status 1 where too few were noticed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", choices=sorted(TESTS), action="append", help="only this; repeatable")
    parser.add_argument("--count", type=int, help="so many of each module, drawn at random; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.9, help="least share that tests must notice")
    wanted = parser.parse_args()
    work = []
    for name in wanted.module or TESTS:
        path = PACKAGE / name
        found = []
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
            rounds = tests_by_nearness(file, TESTS[name])
            tree = ast.parse(file.read_text(encoding="utf-8"))
            found += [
                (file, line, what, ast.unparse(mutant), rounds) for line, what, mutant in variants(tree)
            ]
        if wanted.count is not None:
            found = random.Random(f"{name} {wanted.seed}").sample(found, min(wanted.count, len(found)))
        work += found
    killed, survivors = 0, []
    for name in ("torch", "scipy.stats", "timm", "rich", "pydantic"):
        importlib.import_module(name)  # once for all: the processes below are forked from this one
    with multiprocessing.get_context("fork").Pool(wanted.jobs, maxtasksperchild=1) as pool:
        lives = pool.imap(survives, [(file, source, rounds) for file, _, _, source, rounds in work])
        for number, ((file, line, what, *_), alive) in enumerate(zip(work, lives, strict=True), start=1):
            place = f"{file.relative_to(ROOT)}:{line}: {what}"
            killed += not alive
            survivors += [place] if alive else []
            print(f"{number}/{len(work)}  {'SURVIVES' if alive else 'killed  '}  {place}", flush=True)
    print(f"\n{killed} of {len(work)} noticed ({killed / max(len(work), 1):.1%})", *survivors, sep="\n  ")
    return int(killed < wanted.share * len(work))


if __name__ == "__main__":
    sys.exit(main())
