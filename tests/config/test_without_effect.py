"""Settings that change nothing, and sections that a recipe takes the place of, are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivreid.config import dump_config, load_config, make_config
from ivreid.config.recipes import recipe_names, replaced_by, with_command_line_recipe


def told(*words: str, recipe: str | None = None, path: Path | None = None) -> list[str]:
    said: list[str] = []
    load_config(path, words, recipe=recipe, notice=said.append)
    return said


def test_images_of_each_modality_are_nothing_to_a_sampler_of_identities(tmp_path: Path) -> None:
    for said in (
        told("batch.instances=2", recipe="mcja"),
        told("batch.instances=4", recipe="mcja"),  # the default, but it was said
    ):
        (line,) = said
        assert "has no effect: the sampler identity takes batch.images = " in line and "set that" in line
    file = tmp_path / "c.yaml"
    file.write_text("recipe: mcja\nbatch: {instances: 2}\n")
    assert len(told(path=file)) == 1
    assert told("batch.images=4", recipe="mcja") == [] == told("batch.instances=2", recipe="agw")
    alone = told("batch.sampler=identity", "batch.instances=2")  # images is null: twice as many
    assert alone == []


def test_a_second_view_that_is_left_out_is_missed() -> None:
    (line,) = told("batch.views.visible=1", recipe="caj")
    assert line.startswith("augment.second (") and "set batch.views.visible=2" in line
    assert told(recipe="caj") == []


def test_drawing_twice_is_for_one_sampler() -> None:
    (line,) = told("batch.replacement=false", recipe="iv-reid")
    assert line == "batch.replacement has no effect: it is for the sampler uniform, not balanced"
    assert told("batch.replacement=false", "batch.sampler=uniform") == []


@pytest.mark.parametrize("name", recipe_names())
def test_no_recipe_says_anything_without_effect(name: str) -> None:
    for dataset in ("sysu-mm01", "regdb", "llcm"):
        said: list[str] = []
        config = make_config({"recipe": name, "data": {"dataset": dataset}}, notice=said.append)
        make_config({**dump_config(config), "recipe": None}, notice=said.append)
        assert not [line for line in said if "no effect" in line]


def test_a_recipe_over_a_file_names_what_it_takes_the_place_of(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "seed: 5\nmethod: {name: agw}\ndata: {root: here, size: [64, 32]}\nepochs: 3\nvalidation: {every: 9}\n"
    )
    assert told("seed=3", recipe="mcja", path=file) == [
        f"--recipe mcja takes the place of method, epochs, data.size in {file}; --set goes before both"
    ]
    (line,) = told(recipe="mcja-published", path=file)
    assert "method, epochs, validation, data.size in" in line
    file.write_text("seed: 5\ndata: {root: here}\n")
    assert told(recipe="mcja", path=file) == []
    assert told(recipe="mcja") == []


def test_what_is_named_is_what_is_gone() -> None:
    full = dump_config(make_config({"recipe": "agw"}))
    for name in ("deen", "deen-published"):
        left = with_command_line_recipe(full, name)
        gone = [key for key in full if key not in left] + ["recipe"]
        gone += [f"data.{key}" for key in full["data"] if key not in left["data"]]
        assert sorted(replaced_by(full, name)) == sorted(gone)
