"""The baseline's losses by loops, each of its parts on and off, and its transformer."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ivreid.config import make_config
from ivreid.distributed.processes import SINGLE_PROCESS
from ivreid.errors import ConfigError, TrainingError, UsageError
from ivreid.methods import parse_settings
from ivreid.testing.method_contract import make_batch
from ivreid.training.batch_checks import check_batch
from method_batches import small_batch, small_method

sys.path.append(str(Path(__file__).parents[1] / "losses"))
import loops

VIT = {"backbone": "vit_tiny_patch16_224", "drop_path": 0.0}


class TwoViews:
    """What `make_batch` must know of a method: a batch of two views."""

    views = 2
    small_size = (64, 32)


def two_views() -> tuple[Tensor, ...]:
    """4 identities x (2 infrared, 2 visible, the same 2 in their second view)."""
    return tuple(make_batch(TwoViews))  # type: ignore[arg-type]


def features(method, batch) -> tuple[Tensor, Tensor]:
    """x and the logits, as a training step has them."""
    x = method.pooled(*batch[::2][:2])
    return x.detach(), method.classifier(method.norm(x)).detach()


def test_the_losses_by_their_definition() -> None:
    batch = two_views()
    labels = batch[1]
    terms = small_method("baseline", consistency_weight=0.7)(*batch)
    x, logits = features(small_method("baseline"), batch)
    rows, classes = range(len(labels)), logits.shape[1]
    said = F.log_softmax(logits, 1)
    identity = [-0.9 * said[i, labels[i]] - 0.1 / classes * said[i].sum() for i in rows]
    assert terms["identity"].item() == pytest.approx(float(sum(identity)) / len(rows), rel=1e-4)
    assert terms["triplet"].item() == pytest.approx(
        loops.weighted_triplet(x, labels, with_self=False), rel=1e-4
    )
    # rows of an identity: infrared 2, view 0 of images a and b, view 1 of a and b
    pairs = [(start + 2 + k, start + 4 + k) for start in range(0, len(labels), 6) for k in (0, 1)]
    taught = [-float((said[second].exp() * said[first]).sum()) for first, second in pairs]
    assert terms["consistency"].item() == pytest.approx(0.7 * sum(taught) / len(pairs), rel=1e-4)


def test_each_part_can_be_switched_off() -> None:
    batch = small_batch("baseline")
    whole = small_method("baseline")(*batch)
    assert set(whole) == {"identity", "triplet"}
    assert set(small_method("baseline", triplet_weight=0.0)(*batch)) == {"identity"}
    half = small_method("baseline", triplet_weight=0.5)(*batch)
    assert half["triplet"].item() == pytest.approx(whole["triplet"].item() / 2, rel=1e-5)
    plain = small_method("baseline", smoothing=0.0)
    expected = F.cross_entropy(features(plain, batch)[1], batch.labels).item()
    assert plain(*batch)["identity"].item() == pytest.approx(expected, rel=1e-4)
    x, _ = features(small_method("baseline"), batch)
    distance = torch.cdist(x, x)
    same = batch.labels[:, None] == batch.labels[None]
    hard = [
        max(0.0, 0.7 + float(distance[i][same[i]].max()) - float(distance[i][~same[i]].min()))
        for i in range(len(x))
    ]
    found = small_method("baseline", triplet="hard", margin=0.7)(*batch)["triplet"].item()
    assert found == pytest.approx(sum(hard) / len(hard), rel=1e-3)
    mean = small_method("baseline", pooling="avg").backbone(batch.images).mean((2, 3))
    averaged = small_method("baseline", pooling="avg").pooled(batch.images, batch.infrared)
    torch.testing.assert_close(averaged, mean)


def test_negatives_still_push_where_the_published_softmax_forgets_them() -> None:
    images, labels, infrared, view = small_batch("baseline")
    found = {}
    for kind in ("weighted", "published"):
        x = 3 * torch.randn(
            len(images), 512, generator=torch.Generator().manual_seed(3)
        )  # distances about 90
        x.requires_grad_(True)
        method = small_method("baseline", triplet=kind, backbone="resnet18")
        method.pooled = lambda images, infrared, x=x: x
        method(images, labels, infrared, view)["triplet"].backward()
        # towards the other identities: the correct loss rises there, the published one only draws rows together
        others = x.detach()[labels != labels[0]].mean(0) - x.detach()[0]
        found[kind] = float((x.grad[0] * others).sum())
        expected = loops.weighted_triplet(
            x.detach(), labels, with_self=kind == "published", published=kind == "published"
        )
        assert method(images, labels, infrared, view)["triplet"].item() == pytest.approx(expected, rel=1e-3)
    assert found["weighted"] > 0 > found["published"]


def test_relative_distances_do_not_depend_on_the_features_size() -> None:
    images, labels, infrared, view = small_batch("baseline")
    x = torch.randn(len(images), 8, generator=torch.Generator().manual_seed(1))
    mean = torch.cdist(x, x).mean().item()
    method = small_method("baseline", relative=True, backbone="resnet18")
    method.pooled = lambda images, infrared: F.pad(x, (0, 504))
    expected = loops.weighted_triplet(x, labels, alpha=1 / mean, with_self=False)
    assert method(images, labels, infrared, view)["triplet"].item() == pytest.approx(expected, rel=1e-4)


def test_two_stems_send_each_modality_through_its_own() -> None:
    method = small_method("baseline", stems="two", backbone="resnet18").eval()
    images, _, infrared, _ = small_batch("baseline")
    with torch.no_grad():
        before = method.embed(images, infrared)
        method.backbone.infrared.stem.conv1.weight.mul_(1.5)
        moved = (method.embed(images, infrared) - before).abs().amax(1)
    assert (moved[infrared] > 1e-3).all()
    assert (moved[~infrared] < 1e-5).all()


def test_each_stripe_tells_people_apart_by_itself() -> None:
    batch = small_batch("baseline")
    method = small_method("baseline", parts=3, backbone="resnet18")
    dim, maps = 512, method.backbone(batch.images)
    rows = maps.shape[2]
    assert rows % 3  # so that the stripes are of different heights
    cuts = [sum(rows // 3 + (k < rows % 3) for k in range(stripe)) for stripe in range(4)]
    regions = [maps, *(maps[:, :, a:b] for a, b in itertools.pairwise(cuts))]
    x = torch.cat([(one.clamp(min=1e-6) ** 3).mean((2, 3)) ** (1 / 3) for one in regions], 1)
    torch.testing.assert_close(method.pooled(batch.images, batch.infrared), x, rtol=1e-4, atol=1e-6)
    assert method.embedding_dim == 4 * dim == x.shape[1]
    z = method.norm(x)
    layers = [method.classifier, *method.classifiers_of_parts]
    said = [
        F.cross_entropy(layer(z[:, k * dim : (k + 1) * dim]), batch.labels, label_smoothing=0.1)
        for k, layer in enumerate(layers)
    ]
    terms = method(*batch)
    assert terms["identity"].item() == pytest.approx(sum(said).item() / 4, rel=1e-4)
    assert terms["triplet"].item() == pytest.approx(
        loops.weighted_triplet(x.detach(), batch.labels, with_self=False), rel=1e-3
    )
    sum(terms.values()).backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in layers)
    assert {g["name"]: len(list(g["params"])) for g in method.parameter_groups(1.0)}["heads"] == 5


def test_more_stripes_than_rows_are_refused_when_the_network_is_built() -> None:
    with pytest.raises(UsageError, match=r"method\.parts = 9: the map of images of 64x32 has 4 rows only"):
        small_method("baseline", parts=9, backbone="resnet18")
    with pytest.raises(ConfigError, match="`parts` cuts a CNN's map"):
        parse_settings("baseline", {**VIT, "parts": 2})


def test_a_transformer_learns_at_half_the_rate_of_its_heads() -> None:
    method = small_method("baseline", **VIT)
    batch = small_batch("baseline")
    assert method.embedding_dim == 192
    torch.testing.assert_close(
        method.eval().embed(batch.images, batch.infrared),
        method.norm(method.backbone(batch.images)),
    )
    terms = method.train()(*batch)
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    groups = method.parameter_groups(3e-4)
    assert {g["name"]: g["lr"] for g in groups} == pytest.approx({"backbone": 1.5e-4, "heads": 3e-4})
    assert {g["lr"] for g in small_method("baseline").parameter_groups(1.0)} == {1.0}
    with pytest.raises(ConfigError, match="a vision transformer has one stem"):
        parse_settings("baseline", {**VIT, "stems": "two"})


def test_consistency_without_a_second_view_is_refused() -> None:
    batch = small_batch("baseline")
    method = small_method("baseline", consistency_weight=1.0)
    with pytest.raises(TrainingError, match=r"baseline needs two views.*batch\.views = \{visible: 2\}"):
        method(*batch)


def test_a_slow_copy_teaches_the_second_view() -> None:
    batch = two_views()
    images, labels, infrared, _ = batch
    method = small_method("baseline", ema_teacher=0.7, ema_decay=0.5)
    plain = small_method("baseline")
    teacher = method.classifier_teacher.network
    with torch.no_grad():
        for network in (method, plain):
            network.classifier.weight.mul_(100)  # so that the answers differ by more than rounding
        for weight in teacher.parameters():
            weight.mul_(1.1)
        teacher.classifier.weight.mul_(100)
    logits = features(plain, batch)[1]
    with torch.no_grad():
        said = teacher.eval().classifier(teacher.norm(teacher.pooled(images, infrared)))
    pairs = [(start + 2 + k, start + 4 + k) for start in range(0, len(labels), 6) for k in (0, 1)]
    taught = 0.0
    for first, second in pairs:
        p, q = (F.log_softmax(row, 0).tolist() for row in (said[first], logits[second]))
        taught += sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True))
    terms = method(*batch)
    assert set(terms) == {"identity", "triplet", "teacher"}
    assert terms["teacher"].item() == pytest.approx(0.7 * taught / len(pairs), rel=1e-3)
    for name in ("identity", "triplet"):  # in which the copy has no part
        torch.testing.assert_close(terms[name], plain(*batch)[name])
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    sum(terms.values()).backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    assert sum(len(g["params"]) for g in method.parameter_groups(1.0)) == len(list(plain.parameters()))
    method.begin_step()  # the first: a tenth stays; running statistics follow as well
    theirs = method.state_dict()
    for key, value in teacher.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.1 * before[key] + 0.9 * theirs[key], rtol=1e-4, atol=1e-6)
    for _ in range(8):
        method.begin_step()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    with torch.no_grad():
        method.classifier.weight.add_(1.0)
    method.begin_step()  # the tenth: 10 / 19 is more than the decay
    moved = teacher.classifier.weight - before["classifier.weight"]
    torch.testing.assert_close(moved, (method.classifier.weight - before["classifier.weight"]) / 2)
    assert method.training and not teacher.training
    embedded = method.eval().embed(images, infrared)
    kept = {key: v for key, v in method.state_dict().items() if not key.startswith(method.training_only)}
    again = small_method("baseline", ema_teacher=0.7).eval()
    again.load_tensors(kept, "weights without the copy")
    torch.testing.assert_close(again.embed(images, infrared), embedded)


def test_a_batch_without_second_views_is_found_before_the_first_step() -> None:
    for option in ("consistency_weight", "ema_teacher"):
        config = make_config(
            {"recipe": "baseline", "method": {option: 1.0}, "batch": {"views": {"visible": 1}}}
        )
        with pytest.raises(ConfigError, match=r"needs 2 views .* batch\.views\.visible is 1; set it to 2"):
            check_batch(config, SINGLE_PROCESS)
        check_batch(make_config({"recipe": "baseline", "method": {option: 1.0}}), SINGLE_PROCESS)


def test_the_second_view_is_always_grey_and_the_recipe_averages_weights() -> None:
    for dataset in ("sysu-mm01", "regdb", "llcm"):
        config = make_config({"recipe": "baseline", "data": {"dataset": dataset}})
        assert (config.batch.size, config.ema, config.epochs) == (96, 0.999, 60)
        second, first = (config.augment.kind(kind) for kind in ("second", "visible"))
        assert second.channel_exchange == second.weighted_grey == 1.0
        assert set(second.colour_choice) == {"channel_exchange", "weighted_grey"}
        assert (first.jitter, first.channel_exchange, second.jitter) == (0.5, 0, 0)
        assert config.augment.kind("infrared").jitter == 0.5
        assert math.isclose(config.schedule.floor, 0.01)
