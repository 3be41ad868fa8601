"""Schedules, averaged weights, health: each against its formula, step by step."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ivreid.config.schema import OptimizerSection, ScheduleSection
from ivreid.errors import ConfigError, TrainingError
from ivreid.training.ema import WeightAverage
from ivreid.training.health import FIRST_STEPS, Health
from ivreid.training.optimizer import make_optimizer, set_rates
from ivreid.training.precision import choose_precision
from ivreid.training.random_state import seed_step
from ivreid.training.schedule import rate_factor, scaled_rate
from ivreid.training.signals import StopSignal


def test_constant_is_one_and_step_cuts_at_its_milestones() -> None:
    assert rate_factor(ScheduleSection(), 57.3, 100) == 1.0
    step = ScheduleSection(name="step", milestones=(2, 4), gamma=0.1)
    factors = [rate_factor(step, at, 10) for at in (0, 1.99, 2, 3.99, 4, 9)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_falls_from_one_to_its_floor() -> None:
    cosine = ScheduleSection(name="cosine", floor=0.2)
    assert [rate_factor(cosine, at, 10) for at in (0, 5, 10)] == pytest.approx([1, 0.6, 0.2])
    assert rate_factor(cosine, 2.5, 10) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)


def test_warm_up_rises_in_a_line_and_the_cosine_starts_after_it() -> None:
    warm = ScheduleSection(warmup=2, warmup_from=0.1)
    assert [rate_factor(warm, at, 10) for at in (0, 1, 2, 3)] == pytest.approx([0.1, 0.55, 1, 1])
    both = ScheduleSection(name="cosine", warmup=2)
    assert rate_factor(both, 2, 10) == pytest.approx(1)
    assert rate_factor(both, 6, 10) == pytest.approx(0.5)  # half of the eight epochs left
    late = ScheduleSection(name="cosine", warmup=1.5)
    assert rate_factor(late, 1.75, 2) == pytest.approx(0.5)  # half of the half epoch left


def test_agw_changes_its_rate_between_epochs_only() -> None:
    """(e + 1) / 10 for e < 10, 1 to e = 19, .1 to 49, .01 after (`per: epoch`)."""
    schedule = ScheduleSection(name="step", per="epoch", warmup=9, warmup_from=0.1, milestones=(20, 50))
    for epoch in range(81):
        expected = (epoch + 1) / 10 if epoch < 10 else 1.0 if epoch < 20 else 0.1 if epoch < 50 else 0.01
        for fraction in (0.0, 0.5, 0.999):
            assert rate_factor(schedule, epoch + fraction, 81) == pytest.approx(expected)


def test_pmt_counts_epochs_from_one_and_falls_to_one_rate_for_all() -> None:
    """Epoch t = 1..24: 3e-6 + t (lr - 3e-6) / 3 for t < 3, then the cosine of pi t / 24 down to 3e-6."""
    schedule = ScheduleSection(
        name="cosine",
        per="epoch",
        first_epoch=1,
        warmup=3,
        warmup_from=0,
        cosine_from="start",
        floor_rate=3e-6,
    )
    for base in (3e-4, 1.5e-4):
        for t in range(1, 25):
            share = t / 3 if t < 3 else (1 + math.cos(math.pi * t / 24)) / 2
            rate = scaled_rate(schedule, rate_factor(schedule, t - 1 + 0.7, 24), base)
            assert rate == pytest.approx(3e-6 + (base - 3e-6) * share)
    assert scaled_rate(schedule, rate_factor(schedule, 23, 24), 3e-4) == pytest.approx(3e-6)


def test_dns_rises_and_falls_in_straight_lines() -> None:
    schedule = ScheduleSection(name="triangle", warmup=16, warmup_from=1e-4)
    for time, expected in ((0, 1e-4), (8, 0.50005), (16, 1), (58, 0.5), (100, 0)):
        assert rate_factor(schedule, time, 100) == pytest.approx(expected)
    with pytest.raises(ValueError, match="rises during `warmup`"):
        ScheduleSection(name="triangle")


def test_a_nesterov_step_equals_its_formula() -> None:
    """v <- .9 v + g; w <- w - lr (g + .9 v), Sutskever et al. (2013) as torch writes it."""
    parameter = nn.Parameter(torch.tensor([1.0]))
    settings = OptimizerSection(name="sgd", lr=0.1, weight_decay=0, momentum=0.9, nesterov=True)
    optimizer = make_optimizer(settings, [{"params": [parameter], "lr": 0.1}], torch.device("cpu"))
    weight, velocity = 1.0, 0.0
    for gradient in (0.5, -0.25, 1.0):
        parameter.grad = torch.tensor([gradient])
        optimizer.step()
        velocity = 0.9 * velocity + gradient
        weight -= 0.1 * (gradient + 0.9 * velocity)
        assert parameter.item() == pytest.approx(weight)
    with pytest.raises(ValueError, match="nesterov"):
        OptimizerSection(name="adam", nesterov=True)


def test_a_groups_own_weight_decay_stands() -> None:
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": 0.1, "weight_decay": 0.0}]
    optimizer = make_optimizer(OptimizerSection(name="sgd", weight_decay=0.5), groups, torch.device("cpu"))
    assert optimizer.param_groups[0]["weight_decay"] == 0.0


@given(
    st.sampled_from(["constant", "step", "cosine"]),
    st.floats(0, 5),
    st.floats(0, 1),
    st.integers(1, 50),
)
def test_a_rate_is_never_negative_nor_above_the_given_one(
    name: str, warmup: float, at: float, epochs: int
) -> None:
    schedule = ScheduleSection(name=name, warmup=warmup, milestones=(1, 3))  # type: ignore[arg-type]
    assert 0 <= rate_factor(schedule, at * epochs, epochs) <= 1 + 1e-12


def test_rates_are_multiples_of_each_groups_own() -> None:
    one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    groups = [
        {"params": one.parameters(), "lr": 0.1, "name": "a"},
        {"params": two.parameters(), "lr": 1.0, "name": "b"},
    ]
    optimizer = make_optimizer(
        OptimizerSection(name="sgd", weight_decay=0.5, momentum=0.3), groups, torch.device("cpu")
    )
    for factor in (0.5, 0.25, 1.0):  # not compounding
        assert set_rates(optimizer, ScheduleSection(), factor) == pytest.approx(
            {"a": 0.1 * factor, "b": factor}
        )
    assert {(group["weight_decay"], group["momentum"]) for group in optimizer.param_groups} == {(0.5, 0.3)}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_fused_step_equals_the_formula(name: str) -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    settings = OptimizerSection(name=name, lr=0.1, weight_decay=0.01)
    optimizer = make_optimizer(settings, [{"params": [parameter], "lr": 0.1}], torch.device("cpu"))
    parameter.grad = torch.tensor([0.5, 0.25])
    optimizer.step()
    for value, start, gradient in zip(parameter.tolist(), (1.0, -2.0), (0.5, 0.25), strict=True):
        full = gradient + 0.01 * start  # L2 in the gradient, but for AdamW
        if name == "sgd":
            expected = start - 0.1 * full
        else:
            used = gradient if name == "adamw" else full
            decayed = start * (1 - 0.1 * 0.01) if name == "adamw" else start
            expected = decayed - 0.1 * used / (abs(used) + 1e-8)  # the first step's bias corrections cancel
        assert value == pytest.approx(expected, rel=1e-5)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)


def test_averaged_weights_follow_their_recursion() -> None:
    network = Network()
    average = WeightAverage(network, decay=0.5)  # type: ignore[arg-type]
    expected = 1.0
    for step, value in enumerate([3.0, 5.0, -1.0], start=1):
        with torch.no_grad():
            network.norm.weight.fill_(value)
            network.norm.running_mean.fill_(2 * value)  # type: ignore[union-attr]
            network.norm.num_batches_tracked.fill_(step)  # type: ignore[union-attr]
        average.update(network, step)
        keep = min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * value
    found = average.network.state_dict()
    assert found["norm.weight"].item() == pytest.approx(expected)
    mean = 0.0
    for step, value in enumerate([6.0, 10.0, -2.0], start=1):
        keep = min(0.5, (1 + step) / (10 + step))
        mean = keep * mean + (1 - keep) * value
    assert found["norm.running_mean"].item() == pytest.approx(mean)
    assert found["norm.num_batches_tracked"].item() == 3
    assert not average.network.training
    assert all(not p.requires_grad for p in average.network.parameters())


def test_a_nan_stops_with_the_term_that_is_nan() -> None:
    health = Health(10.0)
    health.watch(1, {"identity": 1.0, "triplet": 0.5}, 2.0)
    with pytest.raises(TrainingError, match=r"step 2: the loss term `triplet` is nan \(others: identity 1\)"):
        health.watch(2, {"identity": 1.0, "triplet": math.nan}, 2.0)
    with pytest.raises(TrainingError, match="`identity` is inf"):
        health.watch(2, {"identity": math.inf, "triplet": 0.1}, 2.0)
    with pytest.raises(TrainingError, match="the gradient is inf; the largest loss term is `identity`"):
        health.watch(2, {"identity": 1.0, "triplet": 0.1}, math.inf)
    health.watch(2, {"identity": 1.0, "triplet": 0.1}, None)  # fp16 may overflow


def test_divergence_names_the_term_that_rose() -> None:
    health = Health(10.0)
    for step in range(FIRST_STEPS):
        health.watch(step, {"identity": 3.0, "triplet": 1.0}, 1.0)
    with pytest.raises(TrainingError, match=r"the loss has diverged.*`triplet` rose most, from 1 to"):
        for step in range(100):
            health.watch(step, {"identity": 3.0, "triplet": 2.0**step}, 1.0)


def test_one_bad_batch_is_no_divergence_and_null_never_stops() -> None:
    health = Health(10.0)
    for step in range(60):
        health.watch(step, {"identity": 30.0 if step == 40 else 1.0}, 1.0)
    endless = Health(None)
    for step in range(60):
        endless.watch(step, {"identity": 2.0**step}, 1.0)


def test_health_survives_a_checkpoint() -> None:
    import json

    one, other = Health(10.0), Health(10.0)
    for step in range(30):
        terms = {"a": 1 / (step + 1), "b": math.sin(step)}
        one.watch(step, terms, 1.0)
        other.watch(step, terms, 1.0)
        other = Health.from_json(10.0, json.loads(json.dumps(other.to_json())))
    assert one == other


def test_a_steps_random_numbers_depend_on_seed_step_and_rank_only() -> None:
    def draw(*key: int) -> float:
        seed_step(*key)
        return torch.rand(()).item()

    with torch.random.fork_rng():
        first = draw(1, 2, 0)
        torch.rand(100)
        assert draw(1, 2, 0) == first
        assert len({draw(1, 2, 0), draw(1, 3, 0), draw(2, 2, 0), draw(1, 2, 1)}) == 4
        draw(2**31 - 1, 10**6, 4095)  # the largest seed fits


@pytest.fixture
def interrupting() -> Iterator[None]:
    """SIGINT raises, also where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupting")
def test_the_first_signal_is_noted_and_the_second_acts() -> None:
    with StopSignal() as stop:
        assert stop.received is None
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_fp16_needs_a_gpu() -> None:
    assert choose_precision("auto", torch.device("cpu")) == "fp32"
    assert choose_precision("bf16", torch.device("cpu")) == "bf16"
    with pytest.raises(ConfigError, match=r"fp16 needs a CUDA device, this is cpu; set precision=auto"):
        choose_precision("fp16", torch.device("cpu"))


@pytest.mark.parametrize(
    ("kernels", "avx512_bf16", "amx", "expected"),
    [
        ("AVX512", True, False, "bf16"),
        ("AVX512", False, True, "bf16"),
        ("AVX512", False, False, "fp32"),
        ("AVX2", True, True, "fp32"),  # kernels that are held back imitate it
    ],
)
def test_native_is_bf16_where_the_processor_multiplies_it(
    kernels: str, avx512_bf16: bool, amx: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: kernels)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert choose_precision("native", torch.device("cpu")) == expected
    assert choose_precision("auto", torch.device("cpu")) == "fp32"
    assert choose_precision("native", torch.device("meta")) == "fp32"
