"""Products on a device equal the processor's."""

import numpy as np
import pytest
import torch

from ivreid.inference.device_products import product_on
from ivreid.protocols import evaluate, make_protocol
from ivreid.types import Embeddings, ImageTable


def embeddings():
    rng = np.random.default_rng(0)
    rows = [(p, c, f) for p in range(1, 41) for c in range(1, 7) for f in range(1, 6)]
    pids, camids, frames = np.array(rows).T
    vectors = rng.normal(size=(41, 64))[pids] + 2 * rng.normal(size=(len(rows), 64))
    return Embeddings(vectors, ImageTable(pids, camids, frames, np.isin(camids, (3, 6))))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
            ],
        ),
    ],
)
def test_figures_agree_with_the_processor(device, metric):
    protocol = make_protocol("sysu-mm01")
    plain = evaluate(embeddings(), protocol, metric=metric)
    other = evaluate(embeddings(), protocol, metric=metric, product=product_on(device))
    for one, two in zip(plain.trials, other.trials, strict=True):
        assert two.cmc == pytest.approx(one.cmc, abs=1e-6)
        assert (two.mAP, two.mINP) == pytest.approx((one.mAP, one.mINP), abs=1e-6)
