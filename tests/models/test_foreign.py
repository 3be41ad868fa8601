"""Checkpoints of other programs: the same tensors as torch reads, and nothing executed."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ivreid.errors import CheckpointError
from ivreid.models import read_tensors
from ivreid.models.foreign_checkpoint import LEGACY_MAGIC

DTYPES = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8]
DTYPES += [torch.uint8, torch.bool]
FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(value, path: Path, zipped: bool) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def a_state_dict() -> OrderedDict:
    base = torch.arange(24.0).reshape(4, 6)
    state = OrderedDict(
        plain=base.clone(),
        transposed=base.t(),
        part=base[1:3, 2:5],
        column=base[:, 1],
        scalar=torch.tensor(3),
        empty=torch.empty(0, 4),
        parameter=nn.Parameter(torch.ones(3)),
        channels_last=torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        **{str(dtype).removeprefix("torch."): torch.tensor([1, 0, 1]).to(dtype) for dtype in DTYPES},
    )
    state._metadata = {"": {"version": 1}}
    return state


@FORMS
def test_state_dicts_equal_what_torch_reads(zipped, tmp_path):
    path = save(a_state_dict(), tmp_path / "w.pth", zipped)
    wanted, found = torch.load(path, weights_only=True), read_tensors(path)
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert torch.equal(found[name], value), name


@FORMS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(zipped, protocol, tmp_path):
    state = a_state_dict()
    torch.save(state, tmp_path / "w", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_tensors(tmp_path / "w")["transposed"], state["transposed"])


@FORMS
@pytest.mark.parametrize("key", ["state_dict", "model", "net"])
def test_a_model_among_other_things(zipped, key, tmp_path):
    value = {"epoch": 3, "best": 0.5, "note": None, "seen": {1, 2}, key: {"module.a": torch.ones(2)}}
    assert read_tensors(save(value, tmp_path / "w", zipped)).keys() == {"a"}


@FORMS
def test_whole_modules_of_torch(zipped, tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    tied = nn.ModuleDict({"one": net, "two": nn.DataParallel(net)})
    found, wanted = read_tensors(save(tied, tmp_path / "w", zipped)), tied.state_dict()
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert torch.equal(found[name], value)


# hostile files: each would write the marker if anything in it ran


class Call:
    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


def hostile(pickled: bytes, path: Path, form: str) -> Path:
    """A file whose main pickle is `pickled`: bare, or inside either of torch's containers."""
    if form == "bare":
        path.write_bytes(pickled)
    elif form == "legacy":
        parts = [pickle.dumps(part, 2) for part in (LEGACY_MAGIC, 1001, {"little_endian": True})]
        path.write_bytes(b"".join([*parts, pickled, pickle.dumps([], 2)]))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/version", "3")
    return path


def calls(marker: Path) -> dict[str, tuple[object, str]]:
    import builtins
    import shutil
    import subprocess

    touch = f"touch {marker}"
    return {
        "os.system": (Call(os.system, touch), "os.system"),
        "eval": (Call(builtins.eval, f"open({str(marker)!r}, 'w')"), "builtins.eval"),
        "exec": (Call(builtins.exec, f"open({str(marker)!r}, 'w')"), "builtins.exec"),
        "Popen": (
            Call(subprocess.Popen, touch, -1, None, None, None, None, None, True, True),
            "subprocess.Popen",
        ),
        "open": (Call(open, str(marker), "w"), "io.open"),
        "getattr": (Call(getattr, "os", "system"), "builtins.getattr"),
        "rmtree": (Call(shutil.rmtree, str(marker)), "shutil.rmtree"),
        "torch.load": (Call(torch.load, str(marker)), "torch.serialization.load"),
        "in a state dict": ({"a": torch.ones(2).tolist(), "b": Call(os.system, touch)}, "os.system"),
    }


@pytest.mark.parametrize("form", ["bare", "legacy", "zip"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", list(calls(Path("x"))))
def test_calls_are_refused_by_name_and_never_made(name, protocol, form, tmp_path):
    marker = tmp_path / "marker"
    value, called = calls(marker)[name]
    path = hostile(pickle.dumps(value, protocol), tmp_path / "w.pth", form)
    with pytest.raises(CheckpointError) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert str(path) in message
    assert f"would call {called}" in message
    assert not marker.exists()


def glob(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"(S'touch x'\nios\nsystem\n.", "instruction INST"),
        (b"(" + glob("os", "system") + b"S'touch x'\no.", "call os.system"),
        (glob("torch.nn.modules.conv", "Conv2d") + b"(tR.", r"call torch.nn.modules.conv.Conv2d"),
        (
            glob("torch.nn.modules.conv", "Conv2d.forward") + b".",
            r"call torch.nn.modules.conv.Conv2d.forward",
        ),
        (glob("torch", "nn.modules.conv.Conv2d") + b".", "call torch.nn.modules.conv.Conv2d"),
        (glob("torch", "_utils._rebuild_tensor_v2") + b".", "call torch._utils._rebuild_tensor_v2"),
        (glob("model.baseline", "os.system") + b".", "call model.baseline.os.system"),
        (glob("model.baselines", "Baseline") + b".", "call model.baselines.Baseline"),
        (glob("model.resnet", "conv3x3") + b".", "call model.resnet.conv3x3"),
        (glob("torch.nn.modules.x.y", "Conv2d") + b".", "call torch.nn.modules.x.y.Conv2d"),
        (glob("collections", "OrderedDict.fromkeys") + b".", "call collections.OrderedDict.fromkeys"),
        (b"\x80\x02" + glob("torch", "FloatStorage") + b")\x81.", "call torch.FloatStorage"),
        (glob("torch", "FloatStorage") + b"(tR.", "call torch.FloatStorage"),
        (glob("copyreg", "_reconstructor") + b"(" + glob("os", "_exit"), "call os._exit"),
        (
            glob("copyreg", "_reconstructor")
            + b"("
            + glob("torch", "FloatStorage")
            + glob("builtins", "object")
            + b"NtR.",
            "damaged",
        ),
        (glob("collections", "OrderedDict") + b"}S'x'\nNsb.", "damaged"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"Pos.system\n.", "instruction PERSID"),
        (b"S'x'\nQ.", "damaged"),
        (b"(S'module'\nS'os.system'\nS''\nS''\ntQ.", "damaged"),
        (glob("torch._utils", "_rebuild_parameter") + b"(S'x'\nNNtR.", "damaged"),
        (b"}((ltNs.", "damaged"),
        (b"}]]s.", "damaged"),
        (b"", "damaged"),
        (b".", "damaged"),
        (b"0.", "damaged"),
        (b"\x85.", "damaged"),
        (b"N\x86.", "damaged"),
        (b"g5\n.", "damaged"),
        (b"Na.", "damaged"),
        (b"hello", "damaged"),
        (b"I" + b"9" * 10_000 + b"\n.", "damaged"),
        (b"\x8a\xff.", "damaged"),
        (b"\x8d" + struct.pack("<Q", 2**62) + b"x.", "damaged"),
        (b"N.", "not a PyTorch checkpoint"),
        (b"]q\x00h\x00a.", "not a PyTorch checkpoint"),
        (b"\x80\x04" + b"\x8c\x02os\x8c\x06system\x93.", "call os.system"),
        (b"\x80\x04K\x01K\x02\x93.", "damaged"),
    ],
)
def test_crafted_programs(program, message, tmp_path):
    path = hostile(program, tmp_path / "w.pth", "bare")
    with pytest.raises(CheckpointError, match=message):
        read_tensors(path)


@pytest.mark.parametrize("opener", [b"]", b"(", b"N\x85", b"}"])
def test_deep_nesting_ends(opener, tmp_path):
    depth = 200_000
    close = {b"]": b"a" * (depth - 1), b"(": b"t" * depth, b"N\x85": b"", b"}": b""}[opener]
    body = b"N" + b"\x85" * depth if opener == b"N\x85" else opener * depth + close
    with pytest.raises(CheckpointError):
        read_tensors(hostile(body + b".", tmp_path / "w.pth", "zip"))


def test_modules_nested_without_end_are_refused(tmp_path):
    # a module that is its own child
    program = b"\x80\x02" + glob("model.baseline", "Baseline") + b")\x81q\x00}S'_modules'\n}S'a'\nh\x00ssb."
    with pytest.raises(CheckpointError, match="nested without end"):
        read_tensors(hostile(program, tmp_path / "w", "zip"))
    # sixty modules, each twice the child of the next: 2^60 paths
    program = b"\x80\x02" + glob("model.baseline", "Baseline") + b")\x81q\x00"
    for _ in range(60):
        children = b"}S'_modules'\n}S'a'\nh\x00sS'b'\nh\x00ss"
        program += glob("model.baseline", "Baseline") + b")\x81" + children + b"bq\x00"
    with pytest.raises(CheckpointError, match="nested without end"):
        read_tensors(hostile(program + b".", tmp_path / "w", "zip"))


def tensor_program(numel: int, offset: int, size: tuple, stride: tuple) -> bytes:
    """A state dict with one float tensor over storage "0"."""
    out = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", numel) if value == "STORAGE" else None

    call = Call(torch._utils._rebuild_tensor_v2, "STORAGE", offset, size, stride, False, OrderedDict())
    Pickler(out, 2).dump({"a": call})
    return out.getvalue()


@pytest.mark.parametrize(
    ("numel", "offset", "size", "stride", "message"),
    [
        (4, 0, (5,), (1,), "outside its storage"),
        (4, 1, (4,), (1,), "outside its storage"),
        (4, -1, (2,), (1,), "damaged"),
        (4, 0, (2,), (-1,), "damaged"),
        (4, 0, (10**9, 10**9), (0, 0), "outside its storage"),
        (4, 0, (2, 2), (1,), "damaged"),
        (4, 0, (2,) * 9, (1,) * 9, "damaged"),
        (4, 0, (0, 2**70), (1, 1), "impossible"),
        (4, 0, (1,), (10**30,), "damaged|impossible"),
        (4, 0, (True,), (1,), "damaged"),
        (10**15, 0, (4,), (1,), "too short"),
        (10**30, 0, (4,), (1,), "too short"),
    ],
)
def test_tensors_that_lie_about_their_size(numel, offset, size, stride, message, tmp_path):
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", tensor_program(numel, offset, size, stride))
        archive.writestr("archive/data/0", b"\0" * 16)
    with pytest.raises(CheckpointError, match=message):
        read_tensors(path)


def test_archives_that_explode_or_are_none(tmp_path):
    path = tmp_path / "w.pth"
    good = tensor_program(4, 0, (4,), (1,))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", good)
        archive.writestr("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))
    assert read_tensors(path)["a"].tolist() == [1, 2, 3, 4]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", good)
        archive.writestr("archive/data/0", b"\0" * 50_000_000)
    with pytest.raises(CheckpointError, match="compressed parts"):
        read_tensors(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", good)
    with pytest.raises(CheckpointError, match="storage '0' is missing"):
        read_tensors(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", good)
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(CheckpointError, match="big-endian"):
        read_tensors(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="not a PyTorch checkpoint"):
        read_tensors(path)


@FORMS
def test_every_truncation_is_refused(zipped, tmp_path):
    path = save({"a": torch.ones(50), "b": torch.ones(7)}, tmp_path / "w", zipped)
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_tensors(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_any_damage_is_a_checkpoint_error_or_harmless(zipped, tmp_path):
    path = save(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), tmp_path / "w", zipped)
    whole, rng = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3, 20))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            read_tensors(path)
        except CheckpointError:
            refused += 1
    assert refused > 100


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_checkpoint_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        read_tensors(path)


def test_values_without_tensors_say_so(tmp_path):
    for value in ({"epoch": 3}, [torch.ones(2)], {"state_dict": 3}, {"state_dict": {}}, nn.ReLU(), {}):
        with pytest.raises(CheckpointError, match="no named tensors"):
            read_tensors(save(value, tmp_path / "w", True))


def test_names_never_reach_the_terminal_as_control_codes(tmp_path):
    with pytest.raises(CheckpointError, match="names cannot be printed") as caught:
        read_tensors(save({"\x1b[2Ja": torch.ones(2)}, tmp_path / "w", True))
    assert "\x1b" not in str(caught.value)
    path = hostile(b"cos\x1b[2J\nsystem\n.", tmp_path / "w.pth", "bare")
    with pytest.raises(CheckpointError, match=r"would call os\?\[2J\.system"):
        read_tensors(path)


def test_a_folder_or_nothing_is_no_checkpoint(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(CheckpointError, match="no such checkpoint file"):
            read_tensors(path)
    (tmp_path / "w.safetensors").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_tensors(tmp_path / "w.safetensors")
