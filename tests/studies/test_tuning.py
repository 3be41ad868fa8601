"""The search for hyper-parameters: honest, resumable, and able to find and to say what matters."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from study_fakes import FakeTraining, Killed

import ivreid
from ivreid.config import load_config, make_config
from ivreid.errors import CheckpointError, ConfigError, DataError, TrainingError, UsageError
from ivreid.evaluation.run_folder import RunFolder
from ivreid.studies import tuning
from ivreid.studies.optuna_store import only_process, require_optuna
from ivreid.studies.search_space import Choices, Range, check_space, default_space, read_space, with_values
from ivreid.studies.tuning import tune
from ivreid.training.health import Diverged
from ivreid.training.signals import TrainingStopped

pytest.importorskip("optuna")

SPACE = {
    "optimizer.lr": Range(low=1e-5, high=1e-1, log=True),
    "method.margin": Range(low=0.0, high=1.0),
    "batch.identities": Range(low=2, high=16),
    "augment.erasing": Choices(choices=(0.0, 0.25, 0.5)),
}


def hill(config, epoch):
    """Best at a learning rate of 1e-3, whatever the rest; rises over the epochs."""
    return 0.8 * math.exp(-((math.log10(config.optimizer.lr) + 3) ** 2)) * (epoch + 1) / config.epochs


def search(config, training=None, trials=12, said=None, **options):
    notice = said.append if said is not None else lambda _: None
    training = training or FakeTraining(hill)
    return tune(config, SPACE, train=training, trials=trials, notice=notice, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished search of 25 trials, and what it said."""
    tree = {
        "out": str(tmp_path_factory.mktemp("tuning") / "out"),
        "epochs": 6,
        "data": {"dataset": "regdb", "root": "regdb"},
        "validation": {"every": 1, "metric": "mAP"},
    }
    config, training, said = make_config(tree), FakeTraining(hill), []
    return config, training, search(config, training, trials=25, said=said), said


def test_it_finds_the_hill_and_names_what_matters(finished):
    _, _, found, _ = finished
    assert len(found.attempts) == 25
    assert abs(math.log10(found.best.values["optimizer.lr"]) + 3) < 0.25
    assert found.best.score == max(one.score for one in found.attempts if one.outcome == "complete")
    assert next(iter(found.importance)) == "optimizer.lr" and found.importance["optimizer.lr"] > 0.5
    assert all(0 <= share < 0.3 for key, share in found.importance.items() if key != "optimizer.lr")


def test_its_own_values_come_first_and_values_keep_their_kind(finished):
    config, _, found, said = finished
    assert found.attempts[0].values == {
        "optimizer.lr": config.optimizer.lr,
        "method.margin": config.method["margin"],
        "batch.identities": config.batch.identities,
        "augment.erasing": config.augment.erasing,
    }
    assert said[0].startswith("trial 1 of 25: optimizer.lr=0.0001")
    assert all(isinstance(one.values["batch.identities"], int) for one in found.attempts)
    assert {one.values["augment.erasing"] for one in found.attempts} <= {0.0, 0.25, 0.5}


def test_hopeless_trials_are_stopped_early_by_the_median_rule(finished):
    config, training, found, _ = finished
    stopped = [one for one in found.attempts if one.outcome == "stopped early"]
    assert stopped and all(int(one.folder) >= 5 for one in stopped)
    for one in stopped:
        epochs = [epoch for folder, epoch in training.epochs if folder == one.folder]
        assert 1 < len(epochs) < config.epochs or epochs == [0]
        before = [
            hill(with_values(config, other.values), len(epochs) - 1)
            for other in found.attempts[: int(one.folder)]
            if other.outcome == "complete"
        ]
        assert one.score < sorted(before)[len(before) // 2]


def test_best_yaml_is_a_configuration_and_the_plot_a_picture(finished):
    config, _, found, _ = finished
    best = load_config(config.out / "best.yaml")
    assert best == found.config
    assert best.optimizer.lr == found.best.values["optimizer.lr"] and best.out == config.out / "best"
    assert best.validation == config.validation and best.data.root == config.data.root
    with Image.open(config.out / "tuning.png") as image:
        assert image.width > 1000 and len(image.convert("RGB").getcolors(10**6)) > 20


def with_weights(out):
    return [
        folder.name for folder in sorted((out / "trials").iterdir()) if RunFolder(folder).weights.exists()
    ]


def test_every_trial_keeps_its_log_and_the_best_its_weights(finished):
    config, _, found, _ = finished
    folders = sorted((config.out / "trials").iterdir())
    assert [folder.name for folder in folders] == [one.folder for one in found.attempts]
    for folder in folders:
        assert (folder / "metrics.jsonl").exists() and (folder / "config.yaml").exists()
        assert not (folder / "checkpoints").exists()
    assert with_weights(config.out) == [found.best.folder]


def test_more_trials_keep_their_weights_where_that_is_asked_for(config):
    found = search(config(), trials=6, keep=3)
    ranked = sorted((one for one in found.attempts if one.outcome == "complete"), key=lambda one: -one.score)
    three = sorted(one.folder for one in ranked[:3])
    assert with_weights(found.out) == three
    more = search(config(), trials=8, keep=None)
    kept_for_ever = {"0006", "0007"}
    assert set(with_weights(more.out)) == {*three, *kept_for_ever}
    last = search(config(), trials=9)  # one is kept again, and those that were promised to stay
    assert set(with_weights(last.out)) == {last.best.folder, *kept_for_ever}
    with pytest.raises(UsageError, match="--keep 0"):
        search(config(), keep=0)


def test_of_equal_trials_the_first_keeps_its_weights(config):
    found = search(config(), FakeTraining(lambda *_: 0.5), trials=3)
    assert found.best.folder == "0000" and with_weights(found.out) == ["0000"]


def test_a_trial_that_was_evaluated_keeps_its_weights(config):
    found = search(config(), trials=3, keep=3)
    loser = min(found.attempts, key=lambda one: one.score).folder
    RunFolder(found.out / "trials" / loser).results.write_text("[]")
    more = search(config(), trials=4)
    assert set(with_weights(found.out)) == {more.best.folder, loser}


def test_what_a_kill_left_of_an_ended_trial_is_removed_by_the_next_call(config, monkeypatch):
    def killed(self):
        if self.ended() == 3:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(tuning._Search, "clear", killed)
        with pytest.raises(Killed):
            search(config(), trials=4)
    trials = config().out / "trials"
    assert len(with_weights(config().out)) == 3 and all(
        (one / "checkpoints").exists() for one in trials.iterdir()
    )
    found = search(config(), trials=3)
    assert with_weights(found.out) == [found.best.folder]
    assert not any((one / "checkpoints").exists() for one in trials.iterdir())


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A search of ten trials that was never stopped."""
    return search(quick_config(tmp_path_factory.mktemp("straight")), trials=10)


def quick_config(folder):
    data = {"dataset": "regdb", "root": "regdb"}
    validation = {"every": 1, "metric": "mAP"}
    return make_config({"out": str(folder / "out"), "epochs": 4, "data": data, "validation": validation})


@pytest.mark.parametrize("at", [("0000", 0), ("0000", 3), ("0002", 1), ("0009", 0)])
def test_a_killed_search_goes_on_as_if_it_had_never_stopped(straight, tmp_path, at):
    config, training = quick_config(tmp_path), FakeTraining(hill)
    with pytest.raises(Killed):
        search(config, FakeTraining(hill, kill=at), trials=10)
    resumed = search(config, training, trials=10)
    assert resumed.attempts == straight.attempts and resumed.importance == straight.importance
    assert training.calls[0] == (at[0], True) and training.epochs[0] == at
    assert with_weights(config.out) == with_weights(straight.out) == [straight.best.folder]


def test_a_signal_leaves_the_trial_to_the_next_call(config):
    def stopped(*_, **__):
        raise TrainingStopped("stopped by SIGINT", 2)

    with pytest.raises(TrainingStopped):
        search(config(), stopped)
    found = search(config(), trials=2)
    assert len(found.attempts) == 2 and found.attempts[0].values["optimizer.lr"] == config().optimizer.lr


def test_time_up_stops_at_a_validation_and_the_same_call_goes_on(config, monkeypatch):
    now = 0.0
    monkeypatch.setattr("ivreid.studies.tuning.monotonic", lambda: now)
    training = FakeTraining(hill)
    found = search(config(), training, trials=3, minutes=0)
    assert found.attempts == () and found.best is None and training.calls == []
    assert not (found.out / "best.yaml").exists()

    def slow(config, epoch):
        nonlocal now
        now += 60
        return hill(config, epoch)

    training = FakeTraining(slow)
    found = search(config(), training, trials=3, minutes=3)
    assert found.attempts == () and len(training.epochs) == 3
    more = FakeTraining(hill)
    found = search(config(), more, trials=3)
    assert more.calls[0] == ("0000", True) and more.epochs[0] == ("0000", 3)
    assert len(found.attempts) == 3


def test_a_later_call_adds_trials_and_an_equal_one_none(config):
    search(config(), trials=2)
    training = FakeTraining(hill)
    assert len(search(config(), training, trials=4).attempts) == 4
    assert [name for name, _ in training.calls] == ["0002", "0003"]
    again = FakeTraining(hill)
    assert len(search(config(), again, trials=3).attempts) == 4 and again.calls == []


def test_a_diverging_trial_counts_as_bad_and_other_failures_stop_the_search(config):
    def cliff(config, epoch):
        if config.optimizer.lr > 1e-3:
            raise Diverged("step 3: the loss term `triplet` is nan")
        return hill(config, epoch)

    found = search(config(epochs=3), FakeTraining(cliff), trials=12)
    diverged = [one for one in found.attempts if one.outcome == "diverged"]
    assert diverged and all(one.values["optimizer.lr"] > 1e-3 and one.score is None for one in diverged)
    assert found.best.values["optimizer.lr"] <= 1e-3 and (found.out / "tuning.png").exists()

    def full(config, epoch):
        raise TrainingError("no space left on device")

    with pytest.raises(TrainingError, match="no space"):
        search(config(epochs=3), FakeTraining(full), trials=13)
    assert len(search(config(epochs=3), trials=13).attempts) == 13


@pytest.mark.parametrize("select", ["published-test", "last"])
def test_tuning_on_test_identities_or_on_nobody_is_refused(config, select):
    with pytest.raises(ConfigError, match=f"validation.select = {select}.*validation.select=validation"):
        search(config(validation={"select": select}))


def test_another_search_in_the_folder_is_refused_by_key(config):
    search(config(), trials=1)
    search(config(device="cpu", optimizer={"lr": 0.002}), trials=1)  # neither makes another search
    with pytest.raises(CheckpointError, match=r"optimizer.name was 'adam', now 'sgd'\. "):
        search(config(optimizer={"name": "sgd"}))
    with pytest.raises(CheckpointError, match="epochs was 10, now 11"):
        search(config(epochs=11))
    with pytest.raises(CheckpointError, match=r"space.method.margin.high was 1.0, now 0.9"):
        tune(config(), {**SPACE, "method.margin": Range(low=0.0, high=0.9)}, train=FakeTraining(hill))


def test_a_damaged_memory_is_named(config):
    config().out.mkdir()
    (config().out / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(DataError, match=r"study.db cannot be used"):
        search(config())


def test_values_outside_the_space_are_not_tried_first(config):
    said = []
    found = search(config(optimizer={"lr": 0.5}), trials=1, said=said)
    assert "outside the space: optimizer.lr" in said[0]
    assert found.attempts[0].values["optimizer.lr"] < 0.1


def test_without_optuna_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'ivreid\[tune\]'"):
        require_optuna()


def test_the_default_space_fits_every_shipped_configuration():
    for path in sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")):
        config = load_config(path)
        space = default_space(config)
        assert len(space) == 8
        check_space(space, config, path.name)


def space_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return path


def test_a_space_file_is_read(config, tmp_path):
    text = (
        "search:\n"
        "  optimizer.lr: {low: 1e-5, high: 0.01, log: true}\n"
        "  schedule.name: {choices: [constant, cosine]}\n"
    )
    assert read_space(space_file(tmp_path, text), config()) == {
        "optimizer.lr": Range(low=1e-5, high=0.01, log=True),
        "schedule.name": Choices(choices=("constant", "cosine")),
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("optimizer.lr: {low: 1, high: 2}", "search:"),
        ("search: 3", "search:"),
        ("search: [", "not valid YAML"),
        ("search: {optimizer.lr: {low: 2.0, high: 1.0}}", "low 2.0 must be below high 1.0"),
        ("search: {optimizer.lr: {low: 0, high: 1, log: true}}", "above zero"),
        ("search: {optimizer.lr: {low: 0.1}}", r"optimizer.lr.high: Field required"),
        ("search: {optimizer.lr: {low: 0.1, hihg: 1}}", r"optimizer.lr.hihg"),
        ("search: {optimizer.lr: 3}", r"optimizer.lr"),
        ("search: {optimizer.lr: {choices: [1.0]}}", r"optimizer.lr.choices"),
        ("search: {optimizer.rate: {low: 0.1, high: 1}}", r"optimizer.rate: no such setting"),
        ("search: {optimizer.lr: {low: -1.0, high: 1}}", r"optimizer.lr = -1.0"),
        ("search: {schedule.name: {choices: [cosine, cosin]}}", r"schedule.name = 'cosin'"),
        ("search: {data.size: {choices: [[3, 4], [5, 6]]}}", r"data.size"),
    ],
)
def test_unfitting_spaces_are_refused_by_key(config, tmp_path, text, named):
    with pytest.raises(ConfigError, match=named):
        read_space(space_file(tmp_path, text), config())


def test_every_problem_of_a_space_is_told_at_once(config, tmp_path):
    text = (
        "search: {optimizer.lr: {low: -1.0, high: 1}, nope: {choices: [1, 2]}, batch.size: {low: 1, high: 2}}"
    )
    with pytest.raises(ConfigError) as refused:
        read_space(space_file(tmp_path, text), config())
    assert [line.split(": ")[1].split(" =")[0] for line in str(refused.value).splitlines()] == [
        "optimizer.lr=-1.0",
        "nope",
        "batch.size",
    ]


def test_a_second_process_is_refused(config):
    out = config().out
    out.mkdir()
    code = (
        "import fcntl, sys\n"
        f"with open({str(out / '.tuning')!r}, 'w') as file:\n"
        "    fcntl.lockf(file, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match="in use"):
            search(config())
    finally:
        child.communicate("")
    assert len(search(config(), trials=1).attempts) == 1


def test_the_space_may_be_a_file_or_left_out(config, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    (tmp_path / "space.yaml").write_text("search: {optimizer.lr: {choices: [0.001, 0.002]}}\n")
    found = ivreid.tune(config(), str(tmp_path / "space.yaml"), train=FakeTraining(hill), trials=3)
    assert set(found.space) == {"optimizer.lr"} and len(found.attempts) == 3
    assert {one.values["optimizer.lr"] for one in found.attempts[1:]} <= {0.001, 0.002}
    plain = config(out=tmp_path / "other")
    assert ivreid.tune(plain, train=FakeTraining(hill), trials=1).space == default_space(plain)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UsageError, match="a search runs in one process"):
        ivreid.tune(config(), train=FakeTraining(hill))


def test_a_file_system_without_locks_is_told_and_searched_on(tmp_path, monkeypatch, caplog):
    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", none)
    with only_process(tmp_path / "search"):
        pass
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'search'} lies on a file system without locks: make sure that no other process searches there"
    ]
