"""What a method costs: measured on its own network, against what is known of the published ones."""

from __future__ import annotations

import pytest

from ivreid.methods import METHODS, register_method
from ivreid.methods.baseline import Baseline
from ivreid.methods.describe import measure_cost, method_cost, written_costs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dataset", "size", "embedding", "batch", "millions", "shift", "gmac"),
    [
        ("iv-reid", "sysu-mm01", (384, 128), 2048, 64, 23.5, 0, 6.1),
        ("agw", "sysu-mm01", (288, 144), 2048, 64, 23.6, 2048, 5.1),
        ("caj", "sysu-mm01", (288, 144), 2048, 96, 23.6, 2048, 5.1),
        ("caj-plus", "sysu-mm01", (288, 144), 2048, 96, 23.6, 2048, 5.1),
        # the published products of every pair of positions make 19.8 and 12.2; here positions are summed first
        ("deen", "sysu-mm01", (384, 144), 12288, 48, 41.2, 2048, 19.1),
        ("deen", "regdb", (384, 144), 6144, 48, 12.9, 1024, 11.5),
        ("mpanet", "sysu-mm01", (384, 128), 14336, 128, 24.2, 14336, 6.1),
        ("pmt", "sysu-mm01", (256, 128), 768, 64, 85.8, 768, 18.9),
        ("mcja", "sysu-mm01", (384, 192), 2048, 128, 23.5, 2048, 6.0),
        ("saai", "sysu-mm01", (288, 144), 16384, 80, 24.6, 2 * 16384, 5.1),
        ("idkl", "sysu-mm01", (384, 144), 2048, 120, 23.5, 2048, 6.8),
        ("dns", "sysu-mm01", (288, 144), 2048, 48, 25.4, 0, 5.1),
        ("baseline", "sysu-mm01", (288, 144), 2048, 96, 23.5, 2048, 5.1),
    ],
)
def test_size_and_cost_are_the_published_networks(
    name: str,
    dataset: str,
    size: tuple[int, int],
    embedding: int,
    batch: int,
    millions: float,
    shift: int,
    gmac: float,
) -> None:
    """Figures rounded to one digit; the published ones count the norms' shifts that stay 0, which ours lack."""
    cost = measure_cost(name, dataset)
    assert (cost.size, cost.embedding_dim, cost.batch) == (size, embedding, batch)
    assert (cost.parameters + shift) / 1e6 == pytest.approx(millions, abs=0.05)
    assert cost.gmac == pytest.approx(gmac, abs=0.05)
    if dataset == "sysu-mm01":
        assert written_costs()[name] == cost, "python tools/method_costs.py writes it anew"


def test_the_cost_of_every_method_of_this_package_is_written_down() -> None:
    assert sorted(written_costs()) == sorted(name for name in METHODS if METHODS.origin(name) is None)


def test_what_is_written_down_is_not_built_and_a_method_of_another_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Narrow(Baseline):
        """Somebody's method, derived from one of ours."""

        name = "narrow"
        importer = None

    built: list[str] = []
    monkeypatch.setattr("ivreid.methods.describe.measure_cost", built.append)
    register_method(Narrow)
    assert method_cost("pmt") == written_costs()["pmt"] and not built
    assert method_cost("narrow") is None and built == ["narrow"]
