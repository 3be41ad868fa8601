"""The interface for programs: what it answers is what the gallery says."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from served import NIGHT, TIME, drawn, images, running

from ivreid.gallery import Where
from ivreid.gallery.gallery import Gallery
from ivreid.gallery.topology import parse_topology
from ivreid.serve.app import description

ROOT = Path(__file__).parents[2]


def test_the_description_in_the_repository_is_that_of_the_interface() -> None:
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    if f"fastapi=={version('fastapi')}" not in pinned:
        pytest.skip(
            "FastAPI words descriptions otherwise from version to version; the one of constraints.txt is kept"
        )
    kept = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    assert kept == description(), "run python tools/describe_interface.py"


def test_a_search_is_that_of_the_gallery(client, folder: Path) -> None:
    found = client.post("/v1/search", data=NIGHT | {"k": "4"}, files=images(drawn(77))).json()
    (tmp := folder.parent / "night.png").write_bytes(drawn(77))
    with Gallery.open(folder, device="cpu") as gallery:
        wanted = gallery.search(tmp, "infrared", k=4).to_json()["results"][0]["hits"]
    (result,) = found["results"]
    assert found["searched"] == result["searched"] == 6 and found["notes"] == []
    assert [hit["id"] for hit in result["hits"]] == [hit["id"] for hit in wanted]
    for hit, other in zip(result["hits"], wanted, strict=True):
        assert hit["distance"] == pytest.approx(other["distance"], abs=2**-9)  # one unit of float16 near 1
        assert {key: hit[key] for key in other if key not in ("distance", "time")} == {
            key: value for key, value in other.items() if key not in ("distance", "time")
        }
        assert datetime.fromisoformat(hit["time"]) == datetime.fromisoformat(other["time"])


def test_filters_leave_out_what_they_say(client) -> None:
    def times(**more: object) -> list[str]:
        answer = client.post("/v1/search", data={**NIGHT, **more}, files=images(drawn(77))).json()
        return sorted(hit["time"][11:13] for hit in answer["results"][0]["hits"])

    assert times() == ["00", "01", "20", "21", "22", "23"]
    assert times(camera="gate") == ["00", "20", "22"]
    assert times(camera=["gate", "yard"], **{"from": "2026-03-01T22:30", "zone": "+01:00"}) == [
        "00", "01", "22", "23",
    ]  # fmt: skip
    assert times(**{"from": "2026-03-01T21:00Z", "to": "2026-03-01T23:00Z"}) == ["21", "22"]
    assert times(exclude_same_camera=True, query_camera="gate") == ["01", "21", "23"]
    answer = client.post(
        "/v1/search", data={**NIGHT, "gallery_modality": "infrared"}, files=images(drawn(77))
    ).json()
    assert answer["results"][0]["hits"] == [] and "infrared" in answer["notes"][0]


def test_a_crop_of_the_gallery_may_be_the_query(client, folder: Path) -> None:
    with Gallery.open(folder, device="cpu") as gallery:
        ids = sorted(crop.id for crops, _, _ in gallery.store.iterate() for crop in crops)
    answer = client.post("/v1/search", data={"purpose": "again", "crops": ids[0], "k": 10}).json()
    assert sorted(hit["id"] for hit in answer["results"][0]["hits"]) == ids[1:]


def test_vectors_are_the_models(client, service) -> None:
    pictures = [drawn(1), drawn(2, form="JPEG"), drawn(3, form="WebP")]
    answer = client.post("/v1/embed", data={"modality": "infrared"}, files=images(*pictures)).json()
    from ivreid.io import read_image_bytes

    model = service.gallery.model
    wanted = model.embed([read_image_bytes(p, kinds=("PNG", "JPEG", "WebP")) for p in pictures], "infrared")
    assert answer["fingerprint"] == model.fingerprint
    assert np.allclose(answer["vectors"], wanted, atol=1e-5)


def test_crops_are_added_once_found_deleted_and_erased(client, folder: Path) -> None:
    new = {"camera": "roof", "modality": "visible", "time": TIME, "tracklet": "t9"}
    first = client.post("/v1/crops", data=new, files=images(drawn(50), drawn(51))).json()
    again = client.post("/v1/crops", data=new, files=images(drawn(50), drawn(51))).json()
    assert len(first["added"]) == 2 and first["known"] == [] and first["erased"] == 0
    assert again == {"added": [], "known": first["added"], "erased": 0}
    assert client.get("/v1/cameras").json() == {"cameras": ["gate", "roof", "yard"]}

    query = {"modality": "visible", "purpose": "is it there", "by": "crop", "k": 1}
    hit = client.post("/v1/search", data=query, files=images(drawn(50))).json()["results"][0]["hits"][0]
    assert hit["distance"] == pytest.approx(0, abs=1e-3) and hit["tracklet"] == "t9"
    picture = client.get(hit["picture"])
    assert picture.headers["content-type"] == "image/jpeg" and picture.content[:2] == b"\xff\xd8"
    assert hit["id"] not in hit["picture"]

    assert client.delete(f"/v1/crops/{hit['id']}").json() == {"deleted": 1}
    assert client.delete(f"/v1/crops/{hit['id']}").status_code == 404
    assert client.get(hit["picture"]).status_code == 404
    receipt = client.post("/v1/erase", json={"tracklets": ["t9"], "purpose": "asked for"}).json()
    assert receipt["crops"] == 1 and receipt["left"] == [] and receipt["beyond"]
    kept = client.get(f"/v1/receipts/{receipt['id']}")
    assert kept.status_code == 200 and kept.json() == receipt
    (row,) = client.get("/v1/audit", params={"last": 1}).json()["rows"]
    assert (
        row["action"] == "receipt" and row["purpose"] == "asked for" and row["detail"]["id"] == receipt["id"]
    )
    for wrong, status in (("0" * 32, 404), ("x", 422)):
        assert client.get(f"/v1/receipts/{wrong}").status_code == status
    refused = client.post("/v1/crops", data=new, files=images(drawn(51), drawn(52))).json()
    assert refused["erased"] == 1 and len(refused["added"]) == 1
    assert client.post("/v1/erase", json={}).status_code == 422


def test_every_search_is_in_the_audit_also_one_that_failed(client) -> None:
    answer = client.post("/v1/search", data=NIGHT, files=images(drawn(77))).json()
    bad = client.post("/v1/search", data=NIGHT | {"camera": "no such"}, files=images(drawn(77)))
    worse = client.post("/v1/search", data=NIGHT, files=images(b"GIF89a"))
    no_purpose = client.post("/v1/search", data=NIGHT | {"purpose": " "}, files=images(drawn(77)))
    assert [bad.status_code, worse.status_code, no_purpose.status_code] == [422] * 3
    assert "no camera 'no such' in the gallery" in bad.json()["error"]
    rows = client.get("/v1/audit", params={"last": 4}).json()["rows"]
    assert [row["action"] for row in rows] == ["search"] * 4
    assert [row["purpose"] for row in rows] == ["a test"] * 3 + [""]
    assert rows[0]["detail"]["search"] == answer["search"] and rows[0]["detail"]["searched"] == 6
    for row, said in zip(rows[1:], ("no such", "p0.png", "purpose"), strict=True):
        assert said in row["detail"]["failed"]


def test_verdicts_are_kept_by_random_names(client) -> None:
    answer = client.post("/v1/search", data=NIGHT, files=images(drawn(77))).json()
    hit = answer["results"][0]["hits"][0]
    said = {"search": answer["search"], "picture": hit["picture"], "verdict": "same"}
    assert client.post("/v1/verdicts", json=said).json() == {"stored": True}
    (row,) = client.get("/v1/audit", params={"last": 1}).json()["rows"]
    assert row["action"] == "verdict" and row["detail"]["verdict"] == "same"
    assert row["detail"]["search"] == answer["search"] and hit["id"] not in json.dumps(row)
    for wrong in ({"verdict": "identical"}, {"picture": "/etc/passwd"}, {"search": "x"}, {"more": 1}):
        assert client.post("/v1/verdicts", json=said | wrong).status_code == 422


def test_travel_times_stand_beside_hits_or_gate_them(folder: Path) -> None:
    topology = parse_topology("travel:\n  - {between: [gate, yard], least: 60, most: 4000}\n")
    asked = NIGHT | {"query_camera": "gate", "query_time": "2026-03-01T20:00:30Z"}
    with running(folder, topology=topology) as (client, _):
        answer = client.post("/v1/search", data=asked, files=images(drawn(77))).json()
        gated = client.post(
            "/v1/search", data=asked | {"travel_gate": "true"}, files=images(drawn(77))
        ).json()
    verdicts = {hit["time"][11:13]: hit["travel"]["verdict"] for hit in answer["results"][0]["hits"]}
    assert verdicts["21"] == "plausible" and verdicts["23"] == verdicts["01"] == "too late"
    assert len(gated["results"][0]["hits"]) == 4 and "left out 2 of 6" in gated["notes"][0]


def test_operations(client, service) -> None:
    assert client.get("/healthz").json() == {"alive": True}
    assert client.get("/readyz").json() == {"ready": True}
    client.post("/v1/search", data=NIGHT, files=images(drawn(77)))
    figures = client.get("/metrics").text
    assert 'ivreid_requests_total{method="POST",route="/v1/search",status="200"} 1.0' in figures
    assert "ivreid_batch_images_count 1.0" in figures and "gate" not in figures
    service.ending = True
    assert client.get("/readyz").status_code == 503
    refused = client.post("/v1/search", data=NIGHT, files=images(drawn(77)))
    assert refused.status_code == 503 and refused.headers["retry-after"]


def test_a_log_holds_neither_pictures_nor_names_nor_vectors(
    client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("ivreid"), "propagate", True)  # a verb called before turns it off
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="ivreid")
    found = client.post("/v1/search", data=NIGHT, files=images(drawn(77))).json()
    hit = found["results"][0]["hits"][0]
    client.get(hit["picture"])
    client.post("/v1/search", data=NIGHT, files=images(b"no picture"))
    client.delete(f"/v1/crops/{hit['id']}")
    lines = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("ivreid"))
    assert '"route": "/v1/crops/{crop}"' in lines
    for secret in (hit["id"], hit["picture"].rpartition("/")[2], "p0.png", "a test", found["search"]):
        assert secret not in lines


def test_the_gallery_stays_whole_after_all(folder: Path) -> None:
    with running(folder) as (client, _):
        client.post(
            "/v1/crops", data={"camera": "c", "modality": "visible", "time": TIME}, files=images(drawn(9))
        )
    with Gallery.open(folder, device="cpu") as gallery:
        assert gallery.count(Where(cameras=frozenset({"c"}))) == 1
        assert gallery.verify().problems == ()
