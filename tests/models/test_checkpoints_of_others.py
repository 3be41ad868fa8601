"""Checkpoints as people have them: the weights are found wherever programs keep them, and values beside them are
values."""

from __future__ import annotations

import argparse
import datetime
import gzip
import io
import pathlib
import pickle
import shutil
import subprocess
import types
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ivreid.errors import CheckpointError
from ivreid.models import read_tensors
from ivreid.models.foreign_checkpoint import read_checkpoint

FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
WEIGHTS = {f"layer{i}.weight": torch.full((2,), float(i)) for i in range(5)}
OTHERS = {f"layer{i}.weight": torch.full((2,), -float(i)) for i in range(5)}


def save(value, path, zipped=True, **options):
    torch.save(value, path, _use_new_zipfile_serialization=zipped, **options)
    return path


def optimizer():
    return {
        "state": {i: {"exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)} for i in range(9)},
        "param_groups": [],
    }


def wrapped(prefix):
    return {f"{prefix}{name}": value for name, value in WEIGHTS.items()}


@FORMS
@pytest.mark.parametrize(
    ("value", "entry"),
    [
        (WEIGHTS, ""),
        ({"state_dict": WEIGHTS, "centres": torch.ones(9), "best": torch.tensor(0.5)}, "state_dict"),
        ({"mAP": torch.tensor(0.5), "net": WEIGHTS, "cmc": torch.ones(20)}, "net"),
        ({"model": {"backbone": "resnet50", "sizes": [1, 2]}, "net": WEIGHTS}, "net"),
        ({"model": torch.ones(3), "state_dict_ema": WEIGHTS}, "state_dict_ema"),
        ({"weight": WEIGHTS}, "weight"),
        ({"epoch": 3, "nested": {"deep": [{"anything": WEIGHTS}]}}, "nested.deep.anything"),
        ({"optimizer": optimizer(), "student": WEIGHTS}, "student"),
        ({"ema": OTHERS, "state_dict_ema": OTHERS, "model": WEIGHTS}, "model"),
        ({"state_dict_ema": OTHERS, "state_dict": dict(list(WEIGHTS.items())[:3])}, "state_dict"),
        ((3, [WEIGHTS, None]), ""),
        ({7: {"model": WEIGHTS}}, "model"),
    ],
)
def test_the_weights_are_found(value, entry, zipped, tmp_path):
    found = read_checkpoint(save(value, tmp_path / "w", zipped))
    assert found.entry == entry
    assert found.remarks == (f"taken from its entry {entry!r}" if entry else "")
    assert len(found.tensors) >= 3
    assert all(torch.equal(WEIGHTS[name], tensor) for name, tensor in found.tensors.items())


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "model.",
        "module._orig_mod.",
        "net.",
        "encoder.",
        "backbone.",
        "module.model.encoder.",
        "0.",
    ],
)
def test_a_prefix_that_all_names_share_is_taken_off_and_told(prefix, tmp_path):
    found = read_checkpoint(save({"state_dict": wrapped(prefix)}, tmp_path / "w"))
    assert found.tensors.keys() == WEIGHTS.keys()
    assert found.prefix == prefix
    assert found.remarks == f"taken from its entry 'state_dict', without the prefix {prefix!r} of every name"


def test_a_prefix_of_some_names_stays(tmp_path):
    mixed = {**wrapped("module."), "classifier.weight": torch.ones(1)}
    assert read_tensors(save(mixed, tmp_path / "w")).keys() == mixed.keys()
    assert read_checkpoint(save({"bias": torch.ones(1)}, tmp_path / "w")).prefix == ""


def test_models_of_torchs_own_wrappers(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    for wrapper in (AveragedModel(net), nn.DataParallel(net), torch.compile(net)):
        found = read_tensors(save({"model": wrapper.state_dict()}, tmp_path / "w"))
        assert found.keys() == net.state_dict().keys()


def beside():
    return {
        "namespace": argparse.Namespace(lr=0.1, gpu="0", log=pathlib.Path("log"), betas=(0.9, 0.99)),
        "simple": types.SimpleNamespace(a=1),
        "path": pathlib.PurePosixPath("a/b"),
        "windows": pathlib.PureWindowsPath("a/b"),
        "default": defaultdict(list, {"a": [1]}),
        "nested": defaultdict(int, b=2),
        "counter": Counter("hello"),
        "deque": deque([1, 2], maxlen=3),
        "device": torch.device("cuda:0"),
        "dtype": torch.bfloat16,
        "layout": torch.strided,
        "size": torch.Size([1, 2]),
        "when": datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone.utc),  # noqa: UP017
        "day": datetime.date(2026, 1, 2),
        "took": datetime.timedelta(seconds=3.5),
        "complex": 1 + 2j,
        "slice": slice(1, 2, 3),
        "range": range(3),
        "bytes": b"ab",
        "bytearray": bytearray(b"ab"),
        "float": np.float64(0.5),
        "half": np.float16(0.5),
        "int": np.int64(3),
        "bool": np.bool_(True),
        "array": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "words": np.array(["a", "bc"]),
        "objects": np.array([1, None, "x"], dtype=object),
        "record": np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]),
        "numpy dtype": np.dtype("f4"),
        "numpy type": np.float32,
        "type": int,
        "state": np.random.RandomState(0).get_state(),
        "set": {1, 2},
        "frozen": frozenset({3}),
        (1, 2): "a tuple for a key",
        torch.float32: "a type for a key",
    }


def renamed(pickled: bytes, numpy: str) -> bytes:
    """A pickle of protocol 2 with numpy's functions under the names of numpy 1 or 2."""
    other = {"numpy.core": b"numpy._core", "numpy._core": b"numpy.core"}[numpy]
    return pickled.replace(b"c" + other + b".", b"c" + numpy.encode() + b".")


@FORMS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", list(beside()))
def test_values_beside_the_weights_are_values(name, protocol, zipped, tmp_path):
    value = {"before": beside()[name], name: 1, "state_dict": WEIGHTS, "after": [beside()[name], None]}
    path = save(value, tmp_path / "w", zipped, pickle_protocol=protocol)
    assert read_tensors(path).keys() == WEIGHTS.keys()


@FORMS
@pytest.mark.parametrize("numpy", ["numpy.core", "numpy._core"])
@pytest.mark.parametrize("keys", [("cmc", "mAP", "mINP"), ("cmc", "mAP")])
def test_checkpoints_of_the_agw_family(keys, numpy, zipped, tmp_path):
    """A dict of net, numpy figures and epoch, tensors on a GPU, by numpy 1 or 2, in either container."""
    figures = {"cmc": np.linspace(0, 1, 301), "mAP": np.float64(0.4), "mINP": np.float32(0.3)}
    value = {"net": wrapped("module."), **{key: figures[key] for key in keys}, "epoch": 17}
    path = save(value, tmp_path / "sysu_agw_epoch_20.t", zipped)
    data = path.read_bytes()
    if zipped:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, on_gpu(renamed(content, numpy)) if name.endswith(".pkl") else content)
    else:
        path.write_bytes(on_gpu(renamed(data, numpy)))
    found = read_checkpoint(path)
    assert (found.entry, found.prefix) == ("net", "module.")
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in WEIGHTS.items())
    assert numpy.encode() + b"." in path.read_bytes()
    assert b"cuda:0" in path.read_bytes()


def on_gpu(pickled: bytes) -> bytes:
    return pickled.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")


def test_calls_are_still_refused_beside_and_inside_such_values(tmp_path):
    class Call:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "marker",)

    for value in (
        Call(),
        argparse.Namespace(a=Call()),
        defaultdict(list, a=Call()),
        np.array([Call()], dtype=object),
    ):
        with pytest.raises(CheckpointError, match=r"would call builtins\.getattr|would call pathlib"):
            read_tensors(save({"state_dict": WEIGHTS, "args": value}, tmp_path / "w"))
    for program in (b"cbuiltins\ntype\n(S'x'\ntR.", b"cargparse\nNamespace\n(tR.", b"cnumpy\nload\n."):
        with zipfile.ZipFile(tmp_path / "w", "w") as archive:
            archive.writestr("archive/data.pkl", program)
        with pytest.raises(CheckpointError, match="would call"):
            read_tensors(tmp_path / "w")
    assert not (tmp_path / "marker").exists()


def test_tensors_with_attributes_and_complex_ones(tmp_path):
    noted = torch.ones(2)
    noted.note = "mine"
    value = {"a": noted, "b": torch.ones(2, dtype=torch.complex64) * 1j}
    found = read_tensors(save(value, tmp_path / "w"))
    assert torch.equal(found["a"], torch.ones(2))
    assert torch.equal(found["b"], value["b"])


# what people give for a checkpoint


def torchscript(path):
    with torch.random.fork_rng():
        module = torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2))
    torch.jit.save(module, path)


def unpacked(path):
    save(WEIGHTS, path.with_suffix(".zip"))
    with zipfile.ZipFile(path.with_suffix(".zip")) as archive:
        archive.extractall(path.parent / "out")
    shutil.move(next(file for file in (path.parent / "out").rglob("data.pkl")).parent, path)


def compressed(path):
    save(WEIGHTS, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def zipped_file(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best.pth", b"whatever")


def tar(path):
    subprocess.run(["tar", "cf", path, "-C", path.parent, "."], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (torchscript, "is a TorchScript archive.*torch.jit.load"),
        (
            lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
            "Git LFS.*git lfs pull",
        ),
        (lambda p: p.write_text("<!DOCTYPE html><html>"), "HTML page.*web page"),
        (lambda p: p.write_text("\n <html>"), "HTML page"),
        (unpacked, "unpacked PyTorch archive.*zip -0 -r"),
        (compressed, "compressed parts.*zip -0 -r"),
        (zipped_file, "not a PyTorch checkpoint; unpack it, and give best.pth"),
        (lambda p: p.write_bytes(gzip.compress(b"x" * 99)), "gzip archive: unpack it"),
        (tar, "tar archive: unpack it"),
        (lambda p: np.save(p.open("wb"), np.ones(3)), "NumPy array: give the file that"),
        (lambda p: np.savez(p.open("wb"), a=np.ones(3)), "but NumPy arrays; give the file that"),
        (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 99), "no checkpoint but a HDF5"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning")
def test_what_is_given_for_a_checkpoint_is_named_with_the_way_out(make, message, tmp_path):
    path = tmp_path / "given" / "weights.pth"
    path.parent.mkdir()
    make(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_tensors(path)
    assert "allow_pickle" not in str(caught.value)


def test_an_unpacked_archive_is_read_after_the_advice(tmp_path):
    unpacked(tmp_path / "weights")
    with zipfile.ZipFile(tmp_path / "again.pth", "w") as archive:  # what `zip -0 -r again.pth weights` writes
        for file in sorted((tmp_path / "weights").rglob("*")):
            archive.write(file, file.relative_to(tmp_path))
    assert read_tensors(tmp_path / "again.pth").keys() == WEIGHTS.keys()


# small files that stand for much


class Persistent(pickle.Pickler):
    def persistent_id(self, value):
        return value.parts if isinstance(value, Storage) else None


class Storage:
    def __init__(self, key, numel, view=None):
        self.parts = ("storage", torch.FloatStorage, key, "cpu", numel, view)


class Reduce:
    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


def archive_of(value, path, storages):
    out = io.BytesIO()
    Persistent(out, 2).dump(value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", out.getvalue())
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def test_views_of_one_storage_share_its_memory(tmp_path):
    numbers = np.arange(1000, dtype=np.float32)
    value = {
        f"t{i}": Reduce(
            torch._utils._rebuild_tensor_v2,
            Storage("0", 1000, ("v", i, 900)),
            0,
            (900,),
            (1,),
            False,
            OrderedDict(),
        )
        for i in range(100)
    }
    found = read_tensors(archive_of(value, tmp_path / "w", {"0": numbers.tobytes()}))
    assert all(np.array_equal(found[f"t{i}"].numpy(), numbers[i : i + 900]) for i in range(100))
    assert len({t.untyped_storage().data_ptr() - 4 * i for i, t in enumerate(found.values())}) == 1


def test_tensors_that_show_the_same_numbers_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ivreid.models.foreign_checkpoint.FREE_BYTES", 1 << 20)
    value = {
        f"t{i}": Reduce(
            torch._utils._rebuild_tensor_v2, Storage("0", 1000), 0, (1000,), (1,), False, OrderedDict()
        )
        for i in range(300)
    }
    with pytest.raises(CheckpointError, match="the same numbers again and again"):
        read_tensors(archive_of(value, tmp_path / "w", {"0": b"\0" * 4000}))


def test_copies_without_end_are_refused(tmp_path):
    many = list(range(5000))
    for copied in (
        {f"s{i}": Reduce(set, many) for i in range(1000)},
        [Reduce(OrderedDict, [(1, 2)] * 5000)] * 3,
    ):
        path = archive_of({"a": copied, "b": [Reduce(deque, many) for _ in range(1000)]}, tmp_path / "w", {})
        with pytest.raises(CheckpointError, match="copy values without end"):
            read_tensors(path)


def test_modules_that_share_their_parameters_are_refused(tmp_path):
    def glob(module, name):
        return f"c{module}\n{name}\n".encode()

    tensor = glob("torch._utils", "_rebuild_tensor_v2") + b"((S'storage'\n" + glob("torch", "FloatStorage")
    tensor += b"S'0'\nS'cpu'\nI1\ntQI0\n(I1\nt(I1\ntI00\n}tR"
    # a list: one tensor, a dictionary of two thousand names of it, and a hundred modules that have it
    program = b"\x80\x02(" + tensor + b"q\x01}q\x02("
    program += b"".join(f"S'p{i}'\nh\x01".encode() for i in range(2000)) + b"u"
    program += (glob("model.baseline", "Baseline") + b")\x81}S'_parameters'\nh\x02sb") * 100 + b"l."
    with zipfile.ZipFile(tmp_path / "w", "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", b"\0" * 4)
    with pytest.raises(CheckpointError, match="more tensors than any network"):
        read_tensors(tmp_path / "w")


def test_a_pickle_of_the_older_form_is_limited_too(tmp_path, monkeypatch):
    monkeypatch.setattr("ivreid.models.pickles.MAX_BYTES", 1000)
    save({"note": "x" * 2000, "a": torch.ones(1)}, tmp_path / "w", zipped=False)
    with pytest.raises(CheckpointError, match="its pickle is over 1,000 bytes"):
        read_tensors(tmp_path / "w")
