"""Shared by every test: few threads, no network, caches in the test's own folder; time limits; campaigns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import psutil
import pytest
from hypothesis import HealthCheck, settings

from ivreid.catalogue import REGISTRIES
from privileges import bound_by_permissions
from time_limits import seconds

os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest-xdist already uses the cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("COLUMNS", "160")  # rich wraps to this off a terminal


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("campaigns", "long series of random cases; `make campaign` sets these")
    group.addoption("--campaign-seed", type=int, default=0, help="the cases follow from it")
    group.addoption("--campaign-first", type=int, default=0, help="number of the first case")
    group.addoption("--campaign-count", type=int, help="cases of each campaign; else its small slice")


@pytest.hookimpl(tryfirst=True)  # before pytest-timeout reads its limit
def pytest_configure(config: pytest.Config) -> None:
    if config.option.timeout is None and "PYTEST_TIMEOUT" not in os.environ:
        config.option.timeout = seconds(float(config.getini("timeout")))
    # no property fails for being slow, and all draw the same examples again, except in a campaign
    fixed = config.getoption("--campaign-count") is None
    slow = [HealthCheck.too_slow]
    settings.register_profile("ivreid", deadline=None, derandomize=fixed, suppress_health_check=slow)
    settings.load_profile("ivreid")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: one for each core that may be used, where 2 GiB are left for it."""
    from ivreid.machine import available_cores

    return max(1, min(available_cores(), psutil.virtual_memory().available >> 31))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every case of a campaign is a test of its own, named SEED-NUMBER."""
    campaign = metafunc.definition.get_closest_marker("campaign")
    if campaign is None:
        return
    option = metafunc.config.getoption
    seed, first, count = (option(f"--campaign-{name}") for name in ("seed", "first", "count"))
    numbers = range(first, first + (campaign.kwargs["slice"] if count is None else count))
    metafunc.parametrize("rng", numbers, ids=[f"{seed}-{n}" for n in numbers], indirect=True)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> Random:
    """What a campaign's case draws from; it follows from the campaign's name, the seed and the case's number."""
    name = request.node.originalname
    seed = request.config.getoption("--campaign-seed")
    print(f"repeat: make campaign ONLY={name} SEED={seed} FIRST={request.param} COUNT=1")  # seen if it fails
    return Random(f"{name} {seed} {request.param}")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IVREID_CACHE", str(tmp_path_factory.getbasetemp() / "ivreid-cache"))
        yield


@pytest.fixture
def permissions_bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Root is bound by permissions for the test's length; without that, a test of them could not fail."""
    probe = tmp_path_factory.mktemp("probe") / "file"
    probe.touch(mode=0)
    with ExitStack() as stack:
        try:
            stack.enter_context(bound_by_permissions())
        except OSError as error:
            pytest.skip(f"this user may read and write anything, and cannot give that up: {error}")
        if os.access(probe, os.R_OK, effective_ids=True):
            pytest.skip("permissions do not bind on this system")
        yield


@pytest.fixture(autouse=True)
def _own_names() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    before = {kind: registry.snapshot() for kind, registry in REGISTRIES.items()}
    yield
    for kind, snapshot in before.items():
        REGISTRIES[kind].restore(snapshot)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of reference data beside the checkout; tests that need it skip where it is absent."""
    here = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("IVREID_SHARED", here.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; set IVREID_SHARED to the folder that holds `data`")
    return folder
