"""A gallery in PostgreSQL behind the server: one database, shards of which one is away, an index."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from served import NIGHT, TIME, drawn, fill, images, running, started

from ivreid.gallery.gallery import Gallery
from ivreid.gallery.postgres import PostgresStore, away
from postgres_server import PostgresServer, server
from time_limits import seconds


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IVREID_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A server that the test may kill."""
    made = PostgresServer()
    yield made
    made.stop()


def ask(client: httpx.Client, path: str = "/v1/search", **more: object) -> httpx.Response:
    return client.post(path, data={**NIGHT, "k": "10", **more}, files=images(drawn(77)))


def opened(url: str, **options: object) -> Gallery:
    return Gallery.open(url, device="cpu", workers=1, **options)  # type: ignore[arg-type]


def test_one_database_serves_as_a_folder_does(folder: Path, weights: Path) -> None:
    url = server().url()
    fill(url, weights)  # type: ignore[arg-type]
    with running(folder) as (client, _):
        near = ask(client).json()
    with running(opened(url)) as (client, _):
        far = ask(client).json()
        for key in ("searched", "by_tracklet", "approximate", "partial", "notes"):
            assert far[key] == near[key], key
        hits = [
            [(hit["id"], hit["distance"], hit["time"]) for hit in one["results"][0]["hits"]]
            for one in (near, far)
        ]
        assert len(hits[0]) == 6 and hits[0] == hits[1]
        assert client.get(far["results"][0]["hits"][0]["picture"]).content[:2] == b"\xff\xd8"
        new = {"camera": "roof", "modality": "visible", "time": TIME}
        (added,) = client.post("/v1/crops", data=new, files=images(drawn(50))).json()["added"]
        assert client.get("/v1/cameras").json() == {"cameras": ["gate", "roof", "yard"]}
        receipt = client.post("/v1/erase", json={"ids": [added], "purpose": "asked for"}).json()
        assert receipt["crops"] == 1 and any("write-ahead log" in line for line in receipt["beyond"])
        assert client.get(f"/v1/receipts/{receipt['id']}").json() == receipt
        assert client.post("/v1/crops", data=new, files=images(drawn(50))).json()["erased"] == 1
        assert "6 crops of 2 cameras" in client.get("/").text
        (row,) = [r for r in client.get("/v1/audit").json()["rows"] if r["action"] == "search"]
        assert row["purpose"] == "a test" and row["detail"]["search"] == far["search"]


def test_an_answer_from_an_index_tells_its_recall(weights: Path) -> None:
    url = server().url()
    fill(url, weights, count=90)  # type: ignore[arg-type]
    store = PostgresStore(url)
    told = store.build_index().to_json()
    store.close()
    with running(opened(url)) as (client, _):
        answer = ask(client, k="3", by="crop").json()
        measured = answer["approximate"]["measured"].replace("Z", "+00:00")
        assert (
            answer["approximate"] | {"measured": measured} == told and len(answer["results"][0]["hits"]) == 3
        )
        page = ask(client, "/search", k="3").text
        assert (
            f"it found {told['recall']:.2%} of the nearest when measured on {told['measured'][:10]}" in page
        )
        assert f'data-recall="{told["recall"]}"' in page
        exact = ask(client, k="3", camera="gate", to="2026-03-02T12:00Z").json()  # a narrow filter
        assert exact["approximate"] is None and exact["searched"] == 8
        assert (
            "APPROXIMATE"
            not in ask(client, "/search", k="3", camera="gate", to="2026-03-02T12:00", zone="UTC").text
        )


def test_a_shard_that_is_away_is_named(
    weights: Path, own: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(away, "PAUSE", 0.3)
    urls = f"{server().url()},{own.url()}"
    fill(urls, weights, count=12)  # type: ignore[arg-type]
    lost = own.url(urls.rpartition("schema=")[2]).replace("@/", "@:5432/")
    with running(opened(urls)) as (client, _):
        assert ask(client).json()["searched"] == 12
        own.kill()
        for path in ("/v1/search", "/search"):
            answer = ask(client, path)
            assert answer.status_code == 503 and str(own.home) in answer.text, path
            assert "the server does not answer" in answer.text
        page = client.get("/")
        assert page.status_code == 503 and page.headers["content-type"].startswith("text/html")
        assert str(own.home) in page.text and client.get("/readyz").status_code == 503
    for later in (False, True):  # away from the beginning, and going later
        if later:
            own.start()
        with running(opened(urls, allow_partial=True)) as (client, service):
            if later:
                assert ask(client).json()["partial"] == []
                own.kill()
            answer = ask(client).json()
            assert 0 < answer["searched"] < 12 and answer["partial"] == [lost]
            (note,) = answer["notes"]
            assert "PARTIAL ANSWER" in note and lost in note
            page = ask(client, "/search")
            assert page.status_code == 200 and "PARTIAL ANSWER" in page.text and str(own.home) in page.text
            assert f'data-partial="{lost}"'.replace("&", "&amp;") in page.text
            assert client.get("/readyz").status_code == 200
            new = {"camera": "roof", "modality": "visible", "time": TIME}
            refused = client.post("/v1/crops", data=new, files=images(drawn(50)))
            assert refused.status_code == 422 and "read in part" in refused.json()["error"]
            row = service.gallery.store._shards[0].audit(last=1)[0]
            assert row.action == "search" and row.detail["partial"] == [lost]
            own.start()  # it is asked again when it is back
            time.sleep(0.4)
            whole = ask(client).json()
            assert (whole["searched"], whole["partial"], whole["notes"]) == (12, [], [])
            own.kill()


def test_the_verb_takes_urls_and_allows_partial_answers(weights: Path, own: PostgresServer) -> None:
    urls = f"{server().url()},{own.url()}"
    fill(urls, weights)  # type: ignore[arg-type]
    own.kill()
    command = [sys.executable, "-m", "ivreid", "serve", urls, "--port", "0", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds(120), check=False)
    assert done.returncode == 2 and "the server does not answer" in " ".join(done.stderr.split())
    assert str(own.home) in "".join(done.stderr.split())
    with started(urls, "--allow-partial") as (_, address):  # type: ignore[arg-type]
        found = httpx.post(
            f"{address}/v1/search", data=NIGHT, files=images(drawn(77)), trust_env=False, timeout=seconds(60)
        ).json()
    assert len(found["partial"]) == 1 and str(own.home) in found["partial"][0]
