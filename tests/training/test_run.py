"""One run: its files, its figures, its refusals."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from run_in_child import CONTEXT, finish, start
from trees import tiny_tree, write_dataset

from double_precision import SINGLE, use_double_precision
from ivreid import methods
from ivreid.config import Config, load_config, make_config
from ivreid.data import TrainLoader, open_training_set
from ivreid.datasets import hold_out, load_dataset
from ivreid.errors import ConfigError, DataError, ImageError, ProtocolError, TrainingError, UsageError
from ivreid.evaluation.validation import score_validation
from ivreid.methods.iv_reid import IVReID
from ivreid.models import read_weights
from ivreid.training import load_state, read_log, train
from ivreid.training.loop import Run
from ivreid.training.run_lock import open_run_folder
from ivreid.types import Embeddings, ImageTable

Make = Callable[..., Config]


def test_a_run_leaves_what_it_promises(tiny_config: Make, tiny: Path) -> None:
    config = tiny_config(epochs=2, checkpoint={"keep_every": 2})
    done: list[tuple[int, int]] = []
    told: list[str] = []
    summary = train(config, progress=lambda *a: done.append(a), notice=told.append)
    run = summary.folder
    assert load_config(run / "config.yaml") == config
    environment = json.loads((run / "environment.json").read_text())
    dataset = load_dataset("sysu-mm01", tiny)
    assert environment["dataset"] == {"name": "sysu-mm01", "fingerprint": dataset.fingerprint, "trial": None}
    assert environment["versions"]["torch"] == torch.__version__.split("+")[0]
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == [
        "best.safetensors",
        "epoch-0002.safetensors",
        "last.safetensors",
    ]
    assert any((run / "tensorboard").iterdir())
    assert [d for d, _ in done] == sorted(d for d, _ in done)
    assert done[-1][0] == done[-1][1]
    assert len([line for line in told if line.startswith("epoch ")]) == 2
    best = max(
        (r for r in read_log(run / "metrics.jsonl") if r["kind"] == "validation"), key=lambda r: r["rank1"]
    )
    assert summary.best is not None
    assert summary.best["rank1"] == best["rank1"]


def test_the_card_says_what_the_weights_are(tiny_config: Make, tiny: Path) -> None:
    config = tiny_config(epochs=1)
    run = train(config).folder
    tensors, card = read_weights(run / "weights.safetensors")
    dataset = load_dataset("sysu-mm01", tiny)
    assert (card["method"], card["num_classes"]) == ("iv-reid", 8)
    assert card["train_pids"] == list(dataset.pids("train"))
    assert card["selection"] == {"on": "validation", "metric": "rank1", "pids": list(dataset.pids("val"))}
    assert card["preprocessing"]["size"] == [32, 16]
    assert card["dataset"]["fingerprint"] == dataset.fingerprint
    assert {"rank1", "mAP", "mINP", "epoch"} <= card["metrics"].keys()
    assert card["licence"]
    best = load_state(run / "checkpoints" / "best.safetensors").part("model")
    assert all(torch.equal(best[name], value) for name, value in tensors.items())
    network, _ = methods.restore(run / "weights.safetensors")
    assert not network.training


def test_the_method_hears_of_each_epoch_and_of_the_images(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first step of each epoch, and of a resumed one."""
    heard: list[Any] = []
    step = IVReID.forward

    def forward(
        self: IVReID, images: torch.Tensor, labels: torch.Tensor, infrared: torch.Tensor, view: torch.Tensor
    ) -> Any:
        heard.append(
            (self.size, tuple(images.shape[-2:]), view.dtype, view.shape == labels.shape, bool(view.any()))
        )
        return step(self, images, labels, infrared, view)

    monkeypatch.setattr(IVReID, "begin_epoch", lambda self, epoch: heard.append(epoch))
    monkeypatch.setattr(IVReID, "forward", forward)
    run = train(tiny_config(epochs=2))
    first, second = heard[: heard.index(1)], heard[heard.index(1) :]
    assert (first[0], second[0]) == (0, 1)
    assert set(first[1:]) == set(second[1:]) == {((32, 16), (32, 16), torch.int8, True, False)}
    assert len(heard) == run.steps + 2
    assert read_weights(run.folder / "weights.safetensors")[1]["size"] == [32, 16]
    heard.clear()
    train(tiny_config(epochs=3), resume=True)
    assert heard[0] == 2
    assert set(heard[1:]) == set(first[1:])


def test_the_loop_equals_a_plain_one(tiny_config: Make, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam on the summed losses, batch after batch, written out without anything of the loop's."""
    use_double_precision(monkeypatch.setattr)
    config = tiny_config(epochs=2, optimizer={"lr": 1e-5}, method={"classifier_lr": 1e-5})
    run = train(config).folder
    dataset = load_dataset("sysu-mm01", tiny)
    data = open_training_set(dataset.root, dataset.split("train"), (32, 16))
    loader = TrainLoader(data, config.batch, config.augment, config.seed, workers=0)
    settings = {key: value for key, value in config.method.items() if key != "name"}
    network = methods.build("iv-reid", settings, 8, seed=config.seed)
    optimizer = torch.optim.Adam(network.parameter_groups(1e-5), lr=1e-5, weight_decay=5e-4)
    losses = []
    for epoch in range(2):
        for batch in loader.epoch(epoch):
            mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (config.data.mean, config.data.std))
            terms = network((batch.images.float() / 255 - mean) / std, batch.labels, batch.infrared)
            optimizer.zero_grad()
            sum(terms.values()).backward()  # type: ignore[union-attr]
            optimizer.step()
            losses.append(sum(t.item() for t in terms.values()))
    logged = [row["loss"] for row in read_log(run / "metrics.jsonl") if row["kind"] == "step"]
    assert logged == pytest.approx(losses, rel=2 * SINGLE)  # the log is in single precision


def test_accumulating_is_the_mean_of_the_batches_gradients(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SGD on two batches steps along the mean of their gradients, clipped to the norm asked for."""
    use_double_precision(monkeypatch.setattr)
    seen: dict[str, Any] = {}
    real = Run.step

    def spy(self: Run, group: Any, epoch: int, batches: int) -> None:
        if not seen:
            import copy

            seen["start"] = copy.deepcopy(self.parts.network)
            seen["group"] = group
            real(self, group, epoch, batches)
            seen["end"] = {k: v.detach().clone() for k, v in self.parts.network.named_parameters()}
        else:
            real(self, group, epoch, batches)

    monkeypatch.setattr(Run, "step", spy)
    sgd = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}
    config = tiny_config(epochs=1, accumulate=2, clip=1.5, optimizer=sgd, method={"classifier_lr": 0.1})
    train(config)
    assert len(seen["group"]) == 2
    network = seen["start"]
    from ivreid.data import normalise

    for batch in seen["group"]:
        terms = network(
            normalise(batch.images, config.data.mean, config.data.std), batch.labels, batch.infrared
        )
        (sum(terms.values()) / 2).backward()
    norm = float(sum((p.grad**2).sum() for p in network.parameters()) ** 0.5)
    assert norm > 1.5
    for name, parameter in network.named_parameters():
        expected = parameter.detach() - 0.1 * parameter.grad * (1.5 / norm)
        # torch clips by 1.5 / (norm + 1e-6): of a step of at most 0.15, less than a millionth
        torch.testing.assert_close(seen["end"][name], expected, rtol=0, atol=0.15e-6)


def embeddings(rng: np.random.Generator) -> Embeddings:
    rows = [(pid, cam, frame) for pid in range(5) for cam in (1, 2, 3, 6) for frame in (1, 2)]
    table = ImageTable(
        pids=np.array([r[0] for r in rows]),
        camids=np.array([r[1] for r in rows]),
        frames=np.array([r[2] for r in rows]),
        infrared=np.array([r[1] in (3, 6) for r in rows]),
    )
    return Embeddings(rng.normal(size=(len(rows), 4)).astype(np.float32), table)


def test_validation_scores_equal_a_slow_derivation(tiny: Path) -> None:
    """Infrared queries, visible gallery, a camera-3 query without camera 2, by plain loops."""
    found = embeddings(np.random.default_rng(3))
    ids, vectors = found.images, found.vectors.astype(np.float64)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, aps, inps = [], [], []
    for q in np.flatnonzero(ids.infrared):
        gallery = [
            g for g in np.flatnonzero(~ids.infrared) if not (ids.camids[q] == 3 and ids.camids[g] == 2)
        ]
        order = sorted(gallery, key=lambda g: -float(vectors[q] @ vectors[g]))
        ranks = [rank for rank, g in enumerate(order, 1) if ids.pids[g] == ids.pids[q]]
        first.append(ranks[0] == 1)
        aps.append(np.mean([n / rank for n, rank in enumerate(ranks, 1)]))
        inps.append(len(ranks) / ranks[-1])
    scores = score_validation(found, load_dataset("sysu-mm01", tiny))
    assert scores == pytest.approx({"rank1": np.mean(first), "mAP": np.mean(aps), "mINP": np.mean(inps)})


def test_validation_names_one_camera_number_for_both_modalities() -> None:
    found = embeddings(np.random.default_rng(3))
    ids = found.images
    one = ImageTable(ids.pids, np.full(len(ids), 5), np.arange(1, len(ids) + 1), ids.infrared)
    with pytest.raises(ProtocolError, match=r"20 had some, .* camera number 5 stands on both sides"):
        score_validation(Embeddings(found.vectors, one), SimpleNamespace(name="csv", trial=None))


def test_the_last_epoch_is_kept_without_looking_at_anybody(tiny_config: Make) -> None:
    config = tiny_config(epochs=2, validation={"select": "last"}, data={"train_on": "train+val"})
    summary = train(config)
    assert summary.best is None
    assert not (summary.folder / "checkpoints" / "best.safetensors").exists()
    assert {row["kind"] for row in read_log(summary.folder / "metrics.jsonl")} == {"step"}
    tensors, card = read_weights(summary.folder / "weights.safetensors")
    assert card["num_classes"] == 12
    last = load_state(summary.folder / "checkpoints" / "last.safetensors").part("model")
    assert all(torch.equal(last[name], value) for name, value in tensors.items())


def test_the_published_selection_looks_at_the_test_identities_and_says_so(tiny_config: Make) -> None:
    run = train(
        tiny_config(epochs=1, validation={"select": "published-test"}, data={"train_on": "train+val"})
    ).folder
    _, card = read_weights(run / "weights.safetensors")
    assert card["selection"]["on"] == "published-test"
    assert [row["kind"] for row in read_log(run / "metrics.jsonl")].count("validation") == 1


def test_averaged_weights_are_the_ones_validated_and_kept(tiny_config: Make) -> None:
    run = train(tiny_config(epochs=1, ema=0.5)).folder
    tensors, _ = read_weights(run / "weights.safetensors")
    best = load_state(run / "checkpoints" / "best.safetensors")
    assert all(torch.equal(best.part("ema")[name], value) for name, value in tensors.items())
    assert any(not torch.equal(best.part("model")[name], value) for name, value in tensors.items())


def test_bf16_trains_on_a_cpu(tiny_config: Make) -> None:
    config = tiny_config(
        epochs=1, precision="bf16", method={"backbone": "test_resnet"}, data={"size": [128, 64]}
    )
    run = train(config).folder
    assert (
        load_state(run / "checkpoints" / "last.safetensors").tensors["model.norm.weight"].dtype
        == torch.float32
    )


# Health, and what stops a run


def poison(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Make the triplet loss NaN from a step on."""
    from ivreid.methods.iv_reid import IVReID

    real, calls = IVReID.forward, 0

    def forward(self: IVReID, *args: Any) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        terms = real(self, *args)
        return {**terms, "triplet": terms["triplet"] * (float("nan") if calls >= at else 1)}

    monkeypatch.setattr(IVReID, "forward", forward)


def test_a_nan_names_the_term_and_the_last_good_checkpoint(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(checkpoint={"every_steps": 2})
    poison(monkeypatch, at=4)
    with pytest.raises(
        TrainingError, match=r"step 4: the loss term `triplet` is nan .*last\.safetensors \(step 2\)"
    ):
        train(config)
    assert config.out is not None
    last = load_state(config.out / "checkpoints" / "last.safetensors")
    assert last.info["position"]["step"] == 2
    assert all(torch.isfinite(value).all() for value in last.tensors.values())
    assert [row["step"] for row in read_log(config.out / "metrics.jsonl")] == [1, 2, 3]


def test_a_nan_before_any_checkpoint_says_so(tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, at=1)
    with pytest.raises(TrainingError, match=r"step 1: .*No checkpoint had been written yet"):
        train(tiny_config())


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_stops_with_the_reason_and_room_lets_it_go_on(
    tiny_config: Make, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(checkpoint={"every_steps": 1})
    real = Path.replace

    def fills_up(self: Path, target: Path) -> Path:
        """Every write ends here; whatever was written before (caches of images), the second state finds no room."""
        if target.name == "last.safetensors" and target.exists():
            no_space()
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fills_up)
    with pytest.raises((TrainingError, DataError), match="No space left on device") as caught:
        train(config)
    assert caught.value.exit_status == 2
    monkeypatch.undo()
    assert config.out is not None
    before = load_state(config.out / "checkpoints" / "last.safetensors").info["position"]
    assert before["step"] == 1
    train(config, resume=True)
    straight = make_config({**tiny_tree(tiny, tmp_path / "straight"), "checkpoint": {"every_steps": 1}})
    train(straight)
    one, other = (
        load_state(c.out / "checkpoints" / "last.safetensors")  # type: ignore[operator]
        for c in (config, straight)
    )
    assert all(torch.equal(one.tensors[key], value) for key, value in other.tensors.items())


def test_a_full_disk_under_the_log(tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from ivreid.training.log import RunLog

    real = RunLog.__init__

    class Full:
        def __getattr__(self, name: str) -> Any:
            return no_space if name in ("write", "flush") else lambda *a: None

    def opened(self: RunLog, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        self._file.close()
        self._file = Full()  # type: ignore[assignment]

    monkeypatch.setattr(RunLog, "__init__", opened)
    with pytest.raises(TrainingError, match=r"cannot write .*metrics.jsonl: No space left on device"):
        train(tiny_config())


# The folder


def test_two_processes_must_not_write_one_folder(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with open_run_folder(out, resume=False):
        child = CONTEXT.Process(target=try_to_open, args=(out, os.getpid()))
        child.start()
        assert finish(child) == 7
        tree = {**tiny_tree(tiny, out), "epochs": 1}
        assert finish(start(tree)) == 2
    assert finish(start(tree)) == 0  # free again


def try_to_open(out: Path, holder: int) -> None:
    try:
        with open_run_folder(out, resume=False):
            pass
    except TrainingError as error:
        os._exit(7 if f"in use by process {holder} on" in str(error) else 8)


def test_a_folder_that_cannot_be_written(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"cannot write the run folder .*choose another with --out"):
        train(tiny_config(out=str(tmp_path / "file" / "run")))

    def read_only(*_: Any, **__: Any) -> int:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("ivreid.training.run_lock.os.open", read_only)
    with pytest.raises(TrainingError, match="Read-only file system"):
        train(tiny_config())


def test_other_files_in_the_folder_are_no_run(tiny_config: Make, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    train(tiny_config(epochs=1))
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


# Data and options that cannot be used


def test_what_is_not_set_is_asked_for(tiny_config: Make) -> None:
    with pytest.raises(ConfigError, match="--out RUN_DIR"):
        train(tiny_config(out=None))
    with pytest.raises(ConfigError, match="--data ROOT"):
        train(tiny_config(data={"root": None}))


def test_too_few_identities_for_a_batch(tiny_config: Make) -> None:
    with pytest.raises(TrainingError, match="a batch needs 9 identities, but there are only 8"):
        train(tiny_config(batch={"identities": 9}))


def test_a_device_this_machine_lacks(tiny_config: Make) -> None:
    with pytest.raises(UsageError, match="977"):
        train(tiny_config(device="cuda:977"))


@pytest.mark.parametrize("cache", [True, False])
def test_an_unreadable_image_stops_or_is_left_out_by_policy(
    tiny_config: Make, tmp_path: Path, cache: bool
) -> None:
    data = write_dataset(tmp_path / "data")
    bad = data / "cam1" / "0003" / "0001.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    section = {"root": str(data), "cache": cache}
    with pytest.raises(ImageError, match=r"cam1/0003/0001\.jpg"):
        train(tiny_config(epochs=20, data=section, out=str(tmp_path / "stops")))
    run = train(
        tiny_config(epochs=1, data={**section, "on_bad_image": "skip"}, out=str(tmp_path / "skips"))
    ).folder
    environment = json.loads((run / "environment.json").read_text())
    assert environment["skipped_images"] == ["cam1/0003/0001.jpg"]
    assert environment["images"] == 95


@pytest.mark.parametrize("size", [0, 100])
def test_a_bad_validation_image_stops_before_the_first_step(
    tiny_config: Make, tmp_path: Path, size: int
) -> None:
    data = write_dataset(tmp_path / "data")
    bad = data / "cam1" / "0010" / "0001.jpg"  # of a validation identity: never skipped
    bad.write_bytes(bad.read_bytes()[:size])
    config = tiny_config(data={"root": str(data), "on_bad_image": "skip"}, out=str(tmp_path / "run"))
    steps: list[tuple[int, int]] = []
    with pytest.raises(ImageError, match=r"cam1/0010/0001\.jpg"):
        train(config, progress=lambda *step: steps.append(step))
    assert not steps


def test_an_empty_file_among_the_training_images_is_left_out_by_policy(
    tiny_config: Make, tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data")
    (data / "cam1" / "0003" / "0001.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty file: cam1/0003/0001\.jpg"):
        train(tiny_config(data={"root": str(data)}, out=str(tmp_path / "stops")))
    seen: list[tuple[int, int]] = []
    section = {"root": str(data), "on_bad_image": "skip"}
    run = train(
        tiny_config(epochs=1, data=section, out=str(tmp_path / "skips")),
        preparing=lambda *done: seen.append(done),
    ).folder
    assert json.loads((run / "environment.json").read_text())["skipped_images"] == ["cam1/0003/0001.jpg"]
    assert (96, 96) in seen and (48, 48) in seen  # training and validation images


def test_datasets_without_validation_identities_hold_some_out(tmp_path: Path) -> None:
    from ivreid.training.setup import prepare_dataset, training_samples

    lines = ["path,pid,modality,split"]
    rng = np.random.default_rng(0)
    from PIL import Image

    for pid in range(12):
        for kind in ("visible", "infrared"):
            name = f"{kind}-{pid}.png"
            Image.fromarray(rng.integers(0, 256, (16, 8, 3), dtype=np.uint8)).save(tmp_path / name)
            lines.append(f"{name},{pid},{kind},{'train' if pid < 10 else 'test'}")
    (tmp_path / "images.csv").write_text("\n".join(lines) + "\n")
    tree = {"data": {"dataset": "csv", "root": str(tmp_path / "images.csv")}, "validation": {"fraction": 0.2}}
    config = make_config(tree)
    dataset = prepare_dataset(config)
    expected = hold_out(load_dataset("csv", tmp_path / "images.csv"), 0.2, config.seed)
    assert dataset.pids("val") == expected.pids("val")
    assert len(dataset.pids("val")) == 2
    trained = {sample.pid for sample in training_samples(config, dataset)}
    assert trained == set(range(10)) - set(dataset.pids("val"))
    with pytest.raises(ConfigError, match="csv defines no validation identities"):
        prepare_dataset(
            make_config(
                {**tree, "data": {**tree["data"], "train_on": "train+val"}, "validation": {"select": "last"}}
            )
        )
