"""Under load: many clients at once, flat memory, and an end in the middle of it that loses nothing acknowledged."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import httpx
import psutil
import pytest
from served import NIGHT, TIME, drawn, images, started

from ivreid.gallery.gallery import Gallery
from time_limits import seconds, wait_until

REQUESTS = int(os.environ.get("IVREID_SERVE_REQUESTS", "300"))
"""`IVREID_SERVE_REQUESTS=10000` is the whole campaign, of several minutes."""
CLIENTS = 50
GROWTH = 48 << 20
"""Bytes that a process may grow between a fifth of the load and its end: allocators keep some, a leak has no end."""


@pytest.mark.slow
def test_fifty_clients_are_all_answered_and_memory_stays_flat(folder: Path) -> None:
    pictures = [images(drawn(n)) for n in range(20)]
    memory: list[int] = []
    done = threading.Semaphore(0)
    with started(folder) as (process, address):
        server = psutil.Process(process.pid)

        def client(number: int) -> Counter[int]:
            rng, statuses = Random(number), Counter[int]()
            with httpx.Client(base_url=address, timeout=seconds(120), trust_env=False) as http:
                for _ in range(REQUESTS // CLIENTS):
                    picture = rng.choice(pictures)
                    kind = rng.random()
                    if kind < 0.6:
                        answer = http.post("/v1/search", data=NIGHT | {"k": 5}, files=picture)
                        found = answer.json()["results"][0] if answer.status_code == 200 else {}
                        assert not found or len(found["hits"]) == 5
                    elif kind < 0.8:
                        answer = http.post("/v1/embed", data={"modality": "visible"}, files=picture)
                    elif kind < 0.9:
                        answer = http.post("/v1/search", data=NIGHT, files=images(b"no picture"))
                        assert answer.status_code == 422
                    else:
                        answer = http.get("/")
                    statuses[answer.status_code] += 1
                    done.release()
            return statuses

        def watch() -> None:
            for count in range(REQUESTS // CLIENTS * CLIENTS):
                done.acquire()
                if count in (REQUESTS // 5, REQUESTS // CLIENTS * CLIENTS - 1):
                    memory.append(server.memory_info().rss)

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        with ThreadPoolExecutor(CLIENTS) as pool:
            statuses = sum(pool.map(client, range(CLIENTS)), Counter[int]())
        watching.join(seconds(60))

        def figures() -> str:
            return httpx.get(f"{address}/metrics", trust_env=False).text

        # a request is counted out after its answer has gone
        wait_until(lambda: "ivreid_requests_at_work 0.0" in figures())
        told = figures()
    assert set(statuses) == {200, 422} and statuses.total() == REQUESTS // CLIENTS * CLIENTS
    assert "ivreid_images_queued 0.0" in told
    embedded = float(told.partition("ivreid_batch_images_sum ")[2].split()[0])
    batches = float(told.partition("ivreid_batch_images_count ")[2].split()[0])
    assert embedded > batches  # fifty at once share batches
    assert memory[1] - memory[0] < GROWTH, memory
    with Gallery.open(folder, device="cpu") as gallery:
        rows = [row for row in gallery.store.audit() if row.action == "search"]
        failed = sum("failed" in row.detail for row in rows)
    assert failed == statuses[422] and len({row.detail["search"] for row in rows}) == len(rows)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("after", [3, 11])
def test_an_end_under_load_loses_no_acknowledged_write(folder: Path, after: int) -> None:
    """Clients add crops until the server is told to end; whatever was answered is there, and the process ends well."""
    acknowledged: list[str] = []
    refused: list[int] = []
    enough = threading.Event()
    with started(folder) as (process, address):

        def client(number: int) -> None:
            with httpx.Client(base_url=address, timeout=seconds(60), trust_env=False) as http:
                for n in range(10_000):
                    fields = {"camera": f"c{number}", "modality": "visible", "time": TIME}
                    try:
                        answer = http.post("/v1/crops", data=fields, files=images(drawn(1000 * number + n)))
                    except httpx.TransportError:
                        return
                    if answer.status_code != 200:
                        refused.append(answer.status_code)
                        return
                    acknowledged.extend(answer.json()["added"])
                    if len(acknowledged) >= after:
                        enough.set()

        threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for one in threads:
            one.start()
        assert enough.wait(seconds(60))
        process.send_signal(signal.SIGTERM)
        assert process.wait(seconds(60)) == 0
        for one in threads:
            one.join(seconds(60))
        assert "Traceback" not in "".join(process.lines)  # type: ignore[attr-defined]
    assert set(refused) <= {503}
    with Gallery.open(folder, device="cpu") as gallery:
        there = gallery.store.get(acknowledged)
        assert len(acknowledged) >= after and set(there) == set(acknowledged)
        assert all(gallery.store.picture(crop.address) for crop in there.values())
        assert gallery.verify().problems == ()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_nothing_that_was_sent_stands_on_the_terminal(folder: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("search secret-token-of-a-test\n")
    tokens.chmod(0o600)
    with started(folder, "--token-file", str(tokens), "--access-log") as (process, address):
        said = {"Authorization": "Bearer secret-token-of-a-test"}
        found = httpx.post(
            f"{address}/v1/search", data=NIGHT, files=images(drawn(7)), headers=said, trust_env=False,
            timeout=seconds(60),
        ).json()  # fmt: skip
        hit = found["results"][0]["hits"][0]
        httpx.get(f"{address}{hit['picture']}", headers=said, trust_env=False)
        httpx.get(f"{address}/v1/cameras?token=secret-token-of-a-test", trust_env=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(seconds(60)) == 0
    lines = "".join(process.lines)  # type: ignore[attr-defined]
    assert '"route": "/v1/search", "status": 200' in lines
    for secret in ("secret-token", hit["id"], hit["picture"], "a test", "p0.png"):
        assert secret not in lines
