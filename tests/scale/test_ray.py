"""The same shards on two local Ray nodes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

import ivreid
from exported_graphs import small_graph, written
from ivreid.errors import UsageError
from ivreid.inference import embed_folder
from ivreid.scale import embed_in_shards


def test_a_missing_ray_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (8, 16)).save(tmp_path / "a.png")
    (tmp_path / "m").mkdir()
    model = written(tmp_path / "m", small_graph())
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"ray is not installed\): pip install 'ivreid\[ray\]'"):
        embed_in_shards(
            model, tmp_path / "a.png", "visible", tmp_path / "f.npz", shards="1", ray="auto", workers=0
        )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray.data", reason="needs pip install 'ivreid[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(400)
def test_two_nodes_embed_what_one_process_does(cluster: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    people, out = tmp_path / "people", tmp_path / "f.npz"
    people.mkdir()
    for number in range(19):
        Image.fromarray(rng.integers(0, 256, (20, 10, 3), dtype=np.uint8)).save(people / f"{number:02d}.png")
    (people / "07.png").write_bytes(b"no image")
    model = written(tmp_path, small_graph())
    embed_in_shards(model, people, "visible", out, shards="2/6", workers=0)  # one is finished here before
    killed: list[int] = []

    def kill_one(done: int, total: int) -> None:
        """The first time a shard comes back, an actor dies as by a power cut; Ray starts another."""
        workers = [one for one in psutil.Process().children(recursive=True) if "ShardWorker" in one.name()]
        if not killed and workers:
            workers[0].kill()
            killed.append(workers[0].pid)

    found = embed_in_shards(
        model,
        people,
        "visible",
        out,
        shards="6",
        ray=cluster.address,
        workers=0,
        device="cpu",
        progress=kill_one,
    )
    assert killed
    assert [one.skipped for one in found.shards] == [False, True, False, False, False, False]
    assert found.waiting == () and found.errors == 1
    expected = embed_folder(model, people, "visible", skip_bad=True, notice=lambda line: None)
    joined = ivreid.read_features(out)
    assert joined.images.paths == expected.images.paths
    np.testing.assert_array_equal(joined.vectors, expected.vectors)
