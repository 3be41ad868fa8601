"""The ranked lists chosen for a report, against a plain loop over queries."""

import numpy as np
import pytest
from report_fixture import embeddings, samples

from ivreid.errors import DataError, UsageError
from ivreid.report import choose_lists
from ivreid.types import Embeddings, ImageTable


def trial(seed=0, noise=1.6, identities=9):
    """Infrared queries, a visible gallery in scrambled order, SYSU-MM01's camera rule, tied vectors."""
    rng = np.random.default_rng(seed)
    both = embeddings(samples(identities, 2), seed=seed, noise=noise)
    vectors = both.vectors.copy()
    visible = rng.permutation(np.flatnonzero(~both.images.infrared))
    vectors[visible[:12]] = vectors[visible[0]]  # equal distances: gallery order must decide
    both = Embeddings(vectors, both.images)
    query, gallery = both.take(np.flatnonzero(both.images.infrared)), both.take(visible[:-4])
    excluded = (query.images.camids[:, None] == 3) & (gallery.images.camids[None, :] == 2)
    return query, gallery, excluded


def slow(query, gallery, excluded, metric):
    """Per query: its list as (gallery row, distance, right), and its AP; None where no true match is left."""
    out = []
    for i in range(len(query)):
        places = []
        for j in range(len(gallery)):
            if excluded is not None and excluded[i, j]:
                continue
            a, b = query.vectors[i].astype(float), gallery.vectors[j].astype(float)
            if metric == "cosine":
                d = 1 - a @ b / np.sqrt(a @ a) / np.sqrt(b @ b)
            else:
                d = np.sqrt(((a - b) ** 2).sum())
            places.append((round(d, 9), j, d))
        places.sort()
        row = [(j, d, query.images.pids[i] == gallery.images.pids[j]) for _, j, d in places]
        hits = [rank for rank, (_, _, right) in enumerate(row, 1) if right]
        ap = np.mean([(k + 1) / rank for k, rank in enumerate(hits)]) if hits else None
        out.append((row, ap, hits))
    return out


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("rule", [True, False])
def test_lists_equal_a_plain_loop(metric, rule):
    query, gallery, excluded = trial()
    excluded = excluded if rule else None
    truth = slow(query, gallery, excluded, metric)
    names = {path: i for i, path in enumerate(query.images.paths)}
    lists = choose_lists(query, gallery, excluded, title="t", metric=metric, shown=6)
    valid = [i for i, (_, ap, _) in enumerate(truth) if ap is not None]
    assert lists.queries == len(valid)
    assert lists.missed == sum(truth[i][2][0] > 1 for i in valid) > 6
    for shown in (*lists.sample, *lists.worst):
        row, ap, hits = truth[names[shown.query.path]]
        assert [h.image.path for h in shown.hits] == [gallery.images.paths[j] for j, _, _ in row[:10]]
        assert [h.right for h in shown.hits] == [bool(right) for _, _, right in row[:10]]
        assert [h.rank for h in shown.hits] == list(range(1, 11))
        assert [h.distance for h in shown.hits] == pytest.approx([d for _, d, _ in row[:10]], abs=1e-6)
        assert shown.average_precision == pytest.approx(ap, abs=1e-9)
        assert shown.first_match.rank == hits[0]
        assert shown.first_match.right
        assert shown.matches == len(hits)


def test_the_sample_spreads_over_the_difficulty_and_the_worst_are_different_people():
    query, gallery, excluded = trial(seed=2)
    lists = choose_lists(query, gallery, excluded, title="t", shown=5)
    aps = sorted(
        (ap for _, ap, _ in slow(query, gallery, excluded, "cosine") if ap is not None), reverse=True
    )
    picked = [int((i + 0.5) / 5 * len(aps)) for i in range(5)]
    assert [q.average_precision for q in lists.sample] == pytest.approx([aps[i] for i in picked])
    assert len({q.query.pid for q in lists.worst}) == len(lists.worst) == 5
    assert lists.worst[0].average_precision == pytest.approx(aps[-1])
    assert all(q.first_match.rank > 1 for q in lists.worst)
    worst = [q.average_precision for q in lists.worst]
    assert worst == sorted(worst)


def test_fewer_queries_than_places_are_all_shown():
    query, gallery, _ = trial()
    lists = choose_lists(query.take(np.arange(3)), gallery, None, title="t", shown=8)
    assert len(lists.sample) == 3


def test_a_perfect_model_has_no_failures():
    pids = np.repeat([1, 2, 3], 2)
    table = ImageTable(pids, np.tile([1, 3], 3), np.ones(6), np.tile([False, True], 3))
    both = Embeddings(np.eye(3)[pids - 1], table)
    lists = choose_lists(both.take(table.infrared), both.take(~table.infrared), None, title="t")
    assert lists.missed == 0
    assert lists.worst == ()
    assert lists.sample[0].query.path == ""


def test_what_cannot_be_ranked_is_refused():
    query, gallery, excluded = trial()
    with pytest.raises(DataError, match="no query has a true match"):
        choose_lists(query, gallery, np.ones_like(excluded), title="t")
    with pytest.raises(DataError, match="mask"):
        choose_lists(query, gallery, excluded[:, 1:], title="t")
    with pytest.raises(UsageError, match="manhattan"):
        choose_lists(query, gallery, excluded, title="t", metric="manhattan")
