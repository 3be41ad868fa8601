"""Files with digests: whatever is damaged in them, by a single bit or by intent, is refused by name."""

from __future__ import annotations

import json
import logging
import random

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ivreid.errors import CheckpointError
from ivreid.models import sealed
from ivreid.models.sealed import Kind, read_info, read_safetensors, read_sealed, tensor_digest, write_sealed

THING = Kind("thing", "thing", "make one")
TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3).t(),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "yes": torch.tensor([True, False]),
    "count": torch.tensor(5),
    "empty": torch.empty(0, 4),
}


@pytest.fixture
def file(tmp_path):
    write_sealed(tmp_path / "x.safetensors", THING, TENSORS, {"name": "ä", "list": [1, 2.5, None]})
    return tmp_path / "x.safetensors"


def metadata(path):
    with safe_open(path, framework="pt") as opened:
        return opened.metadata()


def test_what_is_written_comes_back_and_other_programs_read_it(file):
    tensors, info = read_sealed(file, THING)
    assert info == {"name": "ä", "list": [1, 2.5, None], "kind": "thing", "format": 2}
    assert read_info(file, THING)[0] == info
    assert read_info(file, THING)[1].shapes == {name: tuple(value.shape) for name, value in TENSORS.items()}
    for name, value in load_file(file).items():
        assert torch.equal(value, TENSORS[name])
        assert torch.equal(value, tensors[name])


def test_any_flipped_bit_is_refused_by_name(file):
    whole = file.read_bytes()
    rng = random.Random(0)
    length = 8 + int.from_bytes(whole[:8], "little")
    places = [(at, bit) for at in range(length) for bit in rng.sample(range(8), 2)]
    places += [(at, bit) for at in range(length, len(whole)) for bit in range(8)]
    for at, bit in places:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"x\.safetensors") as caught:
            read_sealed(file, THING)
        assert len(str(caught.value)) < 500 + len(str(file))


def test_damage_that_keeps_every_form_is_seen(file):
    """Each part exchanged for another that reads well: only the digests can tell."""
    seals = metadata(file)
    tensors = {
        name: tensor.clone() for name, tensor in load_file(file).items()
    }  # else views of what is overwritten
    text = json.loads(seals["ivreid"])
    for changed, message in (
        ({**seals, "ivreid": json.dumps({**text, "name": "b"})}, "its card is not the one that was written"),
        ({**seals, "sha256": "0" * 64}, "its card is not the one"),
        ({**seals, "tensors_sha256": "0" * 64}, "its tensors are not those that were written"),
        ({k: v for k, v in seals.items() if k != "tensors_sha256"}, "its digest is missing"),
        ({k: v for k, v in seals.items() if k != "sha256"}, "its card is not the one"),
        ({"ivreid": seals["ivreid"]}, "its digest is missing"),
        ({k: v for k, v in seals.items() if k != "ivreid"}, "its card is not the one"),
        ({"ivreid": json.dumps({**text, "format": 1}), "sha256": seals["sha256"]}, "its card is not the one"),
    ):
        save_file(tensors, file, metadata=changed)
        with pytest.raises(CheckpointError, match=message):
            read_sealed(file, THING)
    for other in (
        {**tensors, "a": tensors["a"].reshape(2, 3)},
        {**tensors, "a": tensors["a"].view(torch.int32)},
        {**{k: v for k, v in tensors.items() if k != "a"}, "b": tensors["a"]},
        {k: v for k, v in tensors.items() if k != "count"},
        {**tensors, "a": tensors["a"] * torch.tensor([[1.0, 1.0]] * 3).fill_(1.0000001)},
    ):
        save_file(other, file, metadata=seals)
        with pytest.raises(CheckpointError, match="its tensors are not those that were written"):
            read_sealed(file, THING)


def test_digests_of_a_file_are_checked_by_every_reader(file):
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={**metadata(file), "tensors_sha256": "0" * 64})
    with pytest.raises(CheckpointError, match="its tensors are not those"):
        read_safetensors(file)


def test_the_digest_does_not_depend_on_order_or_layout_of_memory():
    turned = {name: TENSORS[name] for name in reversed(TENSORS)}
    turned["a"] = turned["a"].contiguous()
    assert tensor_digest(turned) == tensor_digest(TENSORS)


def test_files_of_0_1_0_load_with_one_warning(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(sealed, "_told", set())
    path = tmp_path / "old.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata={"ivreid": json.dumps({"kind": "thing", "format": 1})})
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert read_sealed(path, THING)[0]["a"].tolist() == [1, 1]
            read_info(path, THING)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} was written by ivreid 0.1.0 and holds no digest: damage to it would not be seen"
    ]


def test_tensors_are_those_that_were_checked_whatever_becomes_of_the_file(file):
    tensors, _ = read_sealed(file, THING)
    with file.open("r+b") as opened:  # in place: memory mapped from the file would change
        opened.seek(-70, 2)
        opened.write(b"\xff" * 70)
    for name, value in TENSORS.items():
        assert torch.equal(tensors[name], value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no header"),
        (b"\xff" * 20, "no header"),
        (b"\x02" + b"\0" * 7 + b"{}", "no card"),
        (b"\x02" + b"\0" * 7 + b"[]", "does not describe tensors"),
        (b"\x02" + b"\0" * 7 + b"{}x", "11 bytes where 10 should be"),
        (b"\x08" + b"\0" * 7 + b'{"a":{}}', "does not describe tensors"),
        (b"\x0f" + b"\0" * 7 + b'{"a":{"b":NaN}}', "NaN is no number"),
        ((100_000).to_bytes(8, "little") + b"[" * 100_000, "nested without end"),
    ],
)
def test_headers_that_are_none(content, message, tmp_path):
    (tmp_path / "x").write_bytes(content)
    for read in (read_sealed, read_info):
        with pytest.raises(CheckpointError, match=message):
            read(tmp_path / "x", THING)
    with pytest.raises(CheckpointError, match=r"cannot read .*No such file"):
        read_info(tmp_path / "none", THING)
