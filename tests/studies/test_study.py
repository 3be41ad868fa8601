"""Studies: which runs, how far each is, going on after a kill, and refusing what does not belong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from study_fakes import FakeTest, FakeTraining, Killed

import ivreid
from ivreid.config.parse import differences
from ivreid.errors import CheckpointError, ConfigError, UsageError
from ivreid.protocols import read_results, write_results
from ivreid.studies import study_runs
from ivreid.studies.study import merge_study, run_all
from ivreid.studies.study_runs import plan_study, run_status


def flat_score(config, epoch):
    return 0.5


def play(runs, training=None, test=None, said=None):
    return run_all(
        runs,
        train=training or FakeTraining(flat_score),
        evaluate=test or FakeTest(),
        notice=said.append if said is not None else lambda _: None,
    )


def test_runs_are_named_and_configured_by_trial_and_seed(config):
    both = plan_study(config(), (1, 10), (0, 4))
    assert [run.name for run in both] == [
        "trial-01-seed-0",
        "trial-01-seed-4",
        "trial-10-seed-0",
        "trial-10-seed-4",
    ]
    assert [(run.config.data.trial, run.config.seed) for run in both] == [(1, 0), (1, 4), (10, 0), (10, 4)]
    assert all(run.folder.path == config().out / run.name == Path(run.config.out) for run in both)
    (trial,), (seed,) = plan_study(config(seed=7), (3,)), plan_study(config(data={"trial": 2}), (), (5,))
    assert (trial.name, trial.config.seed, trial.config.data.trial) == ("trial-03", 7, 3)
    assert (seed.name, seed.config.seed, seed.config.data.trial) == ("seed-5", 5, 2)


def test_impossible_studies_are_refused_before_anything_is_written(config, tmp_path):
    with pytest.raises(UsageError, match=r"regdb has the splits 1-10, there is no 11-12"):
        plan_study(config(), (10, 11, 12))
    with pytest.raises(UsageError, match=r"sysu-mm01 has one train/test split.*--seeds"):
        plan_study(config(data={"dataset": "sysu-mm01"}, evaluation=[{}]), (1,))
    with pytest.raises(UsageError, match=r"--trials or --seeds"):
        plan_study(config())
    with pytest.raises(ConfigError, match="--out"):
        plan_study(config().model_copy(update={"out": None}), (1,))
    with pytest.raises(ConfigError, match="seed"):
        plan_study(config(), (), (2**31,))
    assert list(tmp_path.iterdir()) == []


def test_a_study_trains_tests_and_merges_every_run(config):
    training, test, said = FakeTraining(flat_score), FakeTest(), []
    merged = play(plan_study(config(), range(1, 11)), training, test, said)
    names = [f"trial-{n:02d}" for n in range(1, 11)]
    assert training.calls == [(name, False) for name in names] and test.calls == names
    assert len(merged) == 2 and {len(one.trials) for one in merged} == {10}
    assert [one.options["direction"] for one in merged] == ["infrared-to-visible", "visible-to-infrared"]
    single = [read_results(config().out / name / "results.json")[1].mean["mAP"] for name in names]
    assert [one.mAP for one in merged[1].trials] == single
    assert read_results(config().out / "results.json") == merged
    assert "trial-03 (3 of 10): training" in said


@pytest.mark.parametrize("epoch", [0, 1, 6])
def test_an_interrupted_study_goes_on_where_it_stood(config, epoch):
    runs = plan_study(config(), (1, 2, 3))
    with pytest.raises(Killed):
        play(runs, FakeTraining(flat_score, kill=("trial-02", epoch)))
    assert [run_status(run) for run in runs] == ["finished", "unfinished", "new"]
    assert not (config().out / "results.json").exists()
    training, test, said = FakeTraining(flat_score), FakeTest(), []
    merged = play(runs, training, test, said)
    assert training.calls == [("trial-02", True), ("trial-03", False)]
    assert training.epochs[0] == ("trial-02", epoch) and len(training.epochs) == 20 - epoch
    assert test.calls == ["trial-02", "trial-03"]
    assert said[0] == "1 of 3 runs are finished already" and "trial-02 (2 of 3): resuming" in said
    again = FakeTraining(flat_score)
    assert play(runs, again) == merged and again.calls == []


def test_killed_between_training_and_testing_only_the_test_is_made_up_for(config):
    runs = plan_study(config(), (), (0, 1))

    def killed(*_, **__):
        raise Killed

    with pytest.raises(Killed):
        play(runs, test=killed)
    assert [run_status(run) for run in runs] == ["trained", "new"]
    training = FakeTraining(flat_score)
    play(runs, training)
    assert training.calls == [("seed-1", False)]


def test_figures_of_earlier_weights_or_another_setting_do_not_count(config):
    run = plan_study(config(), (1,))[0]
    play([run])
    stale = [dataclasses.replace(one, fingerprints={"model": "old"}) for one in read_results(run.results)]
    good = read_results(run.results)
    for wrong in (
        stale,
        good[:1],
        [dataclasses.replace(one, rerank="k-reciprocal") for one in good],
        [dataclasses.replace(one, options={**one.options, "metric": "euclidean"}) for one in good],
    ):
        write_results(run.results, wrong)
        assert run_status(run) == "trained"
        with pytest.raises(UsageError, match="trial-01"):
            merge_study([run])
    marked = plan_study(config(embedding={"flip": "unit"}), (1,))[0]
    write_results(run.results, good)
    assert (
        run_status(run) == "finished" and study_runs.tested_results(marked) is None
    )  # it asks for mirrored images
    write_results(run.results, [dataclasses.replace(one, tta="flip (unit)") for one in good])
    assert study_runs.tested_results(run) is None and len(study_runs.tested_results(marked)) == len(good)
    write_results(run.results, [*stale, *reversed(good)])
    assert run_status(run) == "finished"
    assert [one.options["direction"] for one in merge_study([run])] == [
        setting.direction for setting in config().evaluation
    ]


def test_more_epochs_resume_and_fewer_or_other_settings_are_refused_by_name(config):
    play(plan_study(config(), (1,)))
    longer, training = plan_study(config(epochs=12), (1,)), FakeTraining(flat_score)
    assert run_status(longer[0]) == "unfinished"
    play(longer, training)
    assert training.calls == [("trial-01", True)] and len(training.epochs) == 2
    with pytest.raises(CheckpointError, match=r"12 epochs, more than the 10 asked for"):
        play(plan_study(config(), (1,)))
    other = plan_study(config(epochs=12, optimizer={"lr": 0.5}, device="cpu"), (1, 2))
    training = FakeTraining(flat_score)
    with pytest.raises(CheckpointError, match=r"trial-01 holds .*: optimizer.lr was 0.0001, now 0.5\. "):
        play(other, training)
    assert training.calls == []


def test_a_foreign_run_is_found_before_any_training(config):
    play(plan_study(config(optimizer={"lr": 0.1}), (3,)))
    training = FakeTraining(flat_score)
    with pytest.raises(CheckpointError, match="trial-03"):
        play(plan_study(config(), (1, 2, 3)), training)
    assert training.calls == []


def test_a_damaged_checkpoint_is_left_to_training_to_name(config):
    run = plan_study(config(), (1,))[0]
    play([run])
    run.folder.last.write_bytes(run.folder.last.read_bytes()[:20])
    assert run_status(run) == "unfinished"


def test_differences_name_every_key_with_both_values():
    before = {"a": 1, "b": {"c": 2, "d": [1]}, "e": {"f": 1}}
    after = {"a": 1, "b": {"c": 3, "d": [1]}, "e": 5, "g": None}
    assert differences(before, after) == [("b.c", 2, 3), ("e", {"f": 1}, 5)]
    assert json.dumps(differences(before, before)) == "[]"


def test_python_users_have_the_call_of_the_command(config, tmp_path, monkeypatch):
    monkeypatch.setattr("ivreid.studies.study.run_all", lambda runs, **how: [run.name for run in runs])
    assert ivreid.run_study(config(), trials=(1, 10), seeds=[3]) == ["trial-01-seed-3", "trial-10-seed-3"]
    with pytest.raises(UsageError, match="--trials or --seeds"):
        ivreid.run_study(config())
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UsageError, match="a study runs in one process"):
        ivreid.run_study(config(), trials=(1,))
