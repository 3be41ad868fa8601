"""`ivreid doctor`: what it finds, and that its advice follows from what it finds."""

from __future__ import annotations

from collections import namedtuple
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from ivreid import doctor

Usage = namedtuple("Usage", "total used free")


def finding(what: str, folder: Path | None = None) -> doctor.Finding:
    return next(one for one in doctor.examine_machine(folder) if one.what == what)


FINE = doctor.Finding("processor", "42 of them")


def test_it_prints_every_finding_and_every_advice(ivreid, monkeypatch):
    monkeypatch.setattr(
        doctor, "examine_machine", lambda: [doctor.Finding("disk", "/a[b]", "install 'x[y]'"), FINE]
    )
    found = ivreid("doctor")
    assert found.status == 0
    assert "/a[b]" in found.out and "disk: install 'x[y]'" in found.out and "42 of them" in found.out
    monkeypatch.setattr(doctor, "examine_machine", lambda: [FINE])
    assert "Nothing to improve" in ivreid("doctor").out


def test_every_kind_of_finding_is_there():
    kinds = [one.what for one in doctor.examine_machine()]
    assert {"system", "packages", "processor", "memory", "disk", "shared memory"} < set(kinds)
    assert f"torch {torch.__version__.split('+')[0]}" in finding("packages").value


def test_a_nearly_full_disk_is_named_with_a_way_out(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage(100e9, 99e9, 1e9))
    disk = finding("disk", tmp_path)
    assert str(tmp_path) in disk.value and "data.cache=false" in disk.advice
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage(100e9, 10e9, 90e9))
    assert not finding("disk", tmp_path).advice


def test_idle_cores_are_blamed_on_what_holds_them(monkeypatch):
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert "OMP_NUM_THREADS=2 holds it there" in finding("processor").advice
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert "set OMP_NUM_THREADS=8" in finding("processor").advice
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert not finding("processor").advice


def test_absent_optuna_is_told_with_the_command(monkeypatch):
    def version(name: str) -> str:
        if name == "optuna":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    packages = finding("packages")
    assert "optuna absent" in packages.value and "pip install 'ivreid[tune]'" in packages.advice


@pytest.mark.parametrize("bf16", [True, False])
def test_a_gpu_is_described_and_one_without_bf16_gets_advice(bf16: bool, monkeypatch):
    card = namedtuple("Card", "name total_memory")("Some GPU", 24e9)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
    gpu = finding("cuda:0")
    assert gpu.value.startswith("Some GPU, 24 GB") and ("precision=fp16" in gpu.advice) is not bf16
