"""Weights files: what is written comes back; everything else is refused by its reason."""

from __future__ import annotations

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from ivreid.errors import CheckpointError, DataError
from ivreid.models import read_card, read_weights, weights_fingerprint, write_weights

CARD = {"method": "iv-reid", "settings": {"margin": 0.3}, "num_classes": 7, "train_pids": [1, 2]}
TENSORS = {
    "a": torch.randn(2, 3, generator=torch.Generator().manual_seed(0)),
    "count": torch.tensor(5),
    "half": torch.ones(3, dtype=torch.bfloat16),
}


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "w.safetensors"
    shared = TENSORS["a"]
    write_weights(path, {**TENSORS, "view": shared.t(), "same": shared}, CARD)
    tensors, card = read_weights(path)
    assert card == {**CARD, "format": 2, "kind": "weights"} == read_card(path)
    assert torch.equal(tensors["view"], shared.t())
    for name, value in {**TENSORS, "same": shared}.items():
        assert torch.equal(tensors[name], value)
        assert tensors[name].dtype == value.dtype


def test_the_fingerprint_is_of_what_the_weights_compute(tmp_path):
    def of(tensors, **changes):
        write_weights(tmp_path / "w.safetensors", tensors, {**CARD, **changes})
        return weights_fingerprint(*read_weights(tmp_path / "w.safetensors"))

    first = of(TENSORS)
    assert first == of(dict(reversed(TENSORS.items())), calibration={"threshold": 0.5}, train_pids=[])
    others = [
        of(TENSORS, settings={"margin": 0.2}),
        of(TENSORS, preprocessing={"size": [32, 16]}),
        of({**TENSORS, "a": TENSORS["a"] + 1e-7}),
        of({**TENSORS, "a": TENSORS["a"].reshape(3, 2)}),
        of({**TENSORS, "half": TENSORS["half"].to(torch.float16)}),
        of({**TENSORS, "more": torch.zeros(0)}),
    ]
    assert len({first, *others}) == 7


def write_with(path, metadata):
    save_file({"a": torch.ones(2)}, path, metadata=metadata)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, "holds tensors but no card"),
        ("{", "card .* is damaged"),
        ("[" * 100_000, "card .* is damaged"),
        ("[1]", "must be a JSON object"),
        ({**CARD, "format": 1, "kind": "checkpoint"}, "kind 'checkpoint'.*use weights.safetensors"),
        ({**CARD, "format": 1}, "kind None"),
        ({**CARD, "format": 3, "kind": "weights"}, "format 3; this version of ivreid reads formats 1 and 2"),
        ({**CARD, "format": True, "kind": "weights"}, "format True"),
        ({**CARD, "format": 2, "kind": "weights"}, "damaged: its digest is missing"),
        (
            {**CARD, "format": 1, "kind": "weights", "num_classes": "7"},
            "needs 'num_classes' .int., it has str",
        ),
        ({**CARD, "format": 1, "kind": "weights", "num_classes": 10**12}, "not in 1.."),
        *(
            ({**CARD, "format": 1, "kind": "weights", **changes}, message)
            for changes, message in (
                ({"train_pids": "all"}, "has 'all' for 'train_pids', not a list of whole numbers"),
                ({"train_pids": [1, "2"]}, r"has \[1, '2'\] for 'train_pids', not a list of whole numbers"),
                ({"dataset": "sysu"}, "has 'sysu' for 'dataset', not dict"),
                ({"dataset": {"name": 3}}, "has 3 for 'dataset.name', not str"),
                ({"dataset": {"trial": True}}, "has True for 'dataset.trial', not int"),
                ({"selection": {"pids": {}}}, "for 'selection.pids', not a list"),
                ({"selection": []}, "for 'selection', not dict"),
                ({"preprocessing": {"size": [1.5, 2]}}, "for 'preprocessing.size'"),
                ({"calibration": 0.3}, "has 0.3 for 'calibration'"),
            )
        ),
        ({"format": 1, "kind": "weights", "method": "x"}, "needs 'settings' .dict., it has nothing"),
    ],
)
def test_cards_that_do_not_fit(card, message, tmp_path):
    path = tmp_path / "w.safetensors"
    text = card if isinstance(card, str) else json.dumps(card)
    write_with(path, None if card is None else {"ivreid": text})
    with pytest.raises(CheckpointError, match=message):
        read_weights(path)


def test_files_that_are_no_weights(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match="no such weights file"):
        read_weights(path)
    for content, message in (
        (b"", "not a safetensors file"),
        (b"hello there, this is text", "not a safetensors file"),
        (b"PK\x03\x04" + b"0" * 30, "ivreid import"),
        (b"\x80\x02" + b"0" * 30, "ivreid import"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read_weights(path)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, TENSORS, CARD)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_weights(path)


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path):
    path = tmp_path / "w.safetensors"
    seen = set()
    for padding in range(0, 600, 8):
        write_weights(path, TENSORS, {**CARD, "licence": "x" * padding})
        seen.add(path.read_bytes()[0])
        assert read_weights(path)[1]["num_classes"] == 7
    assert 0x80 in seen


def test_a_card_that_readers_would_refuse_is_not_written(tmp_path):
    path = tmp_path / "w.safetensors"
    for card in (
        {},
        {**CARD, "num_classes": 0},
        {**CARD, "metrics": {"mAP": float("nan")}},
        {**CARD, "x": {1, 2}},
    ):
        with pytest.raises(CheckpointError):
            write_weights(path, TENSORS, card)
    assert not path.exists()


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    write_weights(path, TENSORS, CARD)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        write_weights(path, {"a": torch.zeros(9)}, CARD)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
