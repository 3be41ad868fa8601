"""The page in a real browser: drop a file, filter, review by keys, save the list; on a phone; without a script."""

from __future__ import annotations

import base64
import csv
import io
import re
from pathlib import Path

import pytest
from served import drawn, fill, running

from ivreid.gallery.topology import parse_topology
from ivreid.serve import Tokens
from real_browser import MARKS, browsing, eventually, expect, visits

pytestmark = MARKS
TOKEN = "search-token-search-token"
DROP = """async ([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const held = new DataTransfer();
  held.items.add(new File([bytes], name, { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.getElementById("drop").dispatchEvent(new DragEvent(kind, { dataTransfer: held, bubbles: true, cancelable: true }));
}"""


def pictures_are_there(page) -> None:
    eventually(
        page, "[...document.querySelectorAll('.hits img')].every((i) => i.complete && i.naturalWidth > 0)"
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Path):
    folder = fill(tmp_path_factory.mktemp("browsed") / "G", weights)
    topology = parse_topology("travel:\n  - {between: [gate, yard], least: 60, most: 4000}\n")
    with running(folder, topology=topology) as both:
        yield both


@pytest.fixture(scope="module")
def browser():
    with browsing() as started:
        yield started


@pytest.fixture
def visit(browser):
    window = {"viewport": {"width": 1200, "height": 900}, "timezone_id": "UTC"}
    with visits(browser, heeded=("error", "warning"), **window) as go:
        yield go


def address(server) -> str:
    return str(server[0].base_url)


def drop(page, number: int = 77) -> None:
    page.wait_for_load_state()  # before it, nothing listens
    page.evaluate(DROP, [f"night-{number}.png", base64.b64encode(drawn(number)).decode()])


def hits(page):
    return page.locator(".hits > li")


def test_drop_filter_review_and_save(visit, server) -> None:
    client, service = server
    page = visit(address(server))
    assert page.locator("#calibration").inner_text().startswith("No calibration")
    drop(page)
    expect(page.locator("#preview img")).to_have_count(1)
    assert hits(page).count() == 0  # a purpose is missing, so nothing was sent
    page.get_by_label("Purpose").fill("case 7")
    page.get_by_role("button", name="Search").click()
    expect(hits(page)).to_have_count(6)
    assert page.locator(".asked h2").inner_text() == "6 nearest of 6 crops"
    shown = [float(one) for one in re.findall(r"distance ([0-9.]+)", page.locator(".hits").inner_text())]
    assert shown == sorted(shown) and len(shown) == 6
    assert page.locator(".word").all_inner_texts() == ["not calibrated"] * 6
    pictures_are_there(page)

    page.get_by_label("gate", exact=True).check()
    page.get_by_label("From").fill("2026-03-01T21:30")
    page.locator("summary").click()
    page.locator("[name=query_camera]").select_option("yard")
    page.locator("[name=query_time]").fill("2026-03-01T21:00:00")
    page.get_by_role("button", name="Search").click()
    expect(hits(page)).to_have_count(2)
    assert page.locator(".travel.plausible").count() == 1 and page.locator(".travel.too-late").count() == 1

    expect(hits(page).nth(0)).to_be_focused()
    page.keyboard.press("s")
    expect(hits(page).nth(0)).to_have_attribute("data-verdict", "same")
    page.keyboard.press("ArrowRight")
    expect(hits(page).nth(1)).to_be_focused()
    page.keyboard.press("d")
    expect(hits(page).nth(1)).to_have_attribute("data-verdict", "different")
    page.keyboard.press("d")
    expect(hits(page).nth(1)).to_have_attribute("data-verdict", "none")
    hits(page).nth(1).get_by_role("button", name="unsure").click()
    expect(hits(page).nth(1)).to_have_attribute("data-verdict", "unsure")

    rows = service.gallery.store.audit()
    verdicts = [row.detail for row in rows if row.action == "verdict"]
    assert [one["verdict"] for one in verdicts] == ["same", "different", "none", "unsure"]
    (name,) = {one["search"] for one in verdicts}
    (searched,) = [row for row in rows if row.action == "search" and row.detail.get("search") == name]
    assert searched.purpose == "case 7"

    with page.expect_download() as download:
        page.get_by_role("button", name="Save the list").click()
    assert download.value.suggested_filename == f"search-{name}.csv"
    saved = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert [row["verdict"] for row in saved] == ["same", "unsure"] and {row["camera"] for row in saved} == {
        "gate"
    }
    answer = client.post(
        "/v1/search",
        data={"purpose": "p", "modality": "infrared", "camera": "gate", "from": "2026-03-01T21:30Z"},
        files={"images": drawn(77)},
    ).json()["results"][0]["hits"]
    assert [row["id"] for row in saved] == [hit["id"] for hit in answer]
    assert [float(row["distance"]) for row in saved] == pytest.approx(
        [hit["distance"] for hit in answer], abs=2**-9
    )


@pytest.mark.parametrize("width", [320, 390, 800, 1600])
def test_nothing_runs_out_of_the_window(visit, server, width: int) -> None:
    page = visit(address(server), viewport={"width": width, "height": 800}, has_touch=width < 800)
    page.get_by_label("Purpose").fill("w" * 80)
    drop(page)
    expect(hits(page)).to_have_count(6)
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    least = page.evaluate(
        "Math.min(...[...document.querySelectorAll('.verdicts button')].map((b) => b.getBoundingClientRect().height))"
    )
    assert least >= 32  # a finger hits it


def test_what_goes_wrong_is_said_on_the_page(visit, server) -> None:
    page = visit(address(server))
    page.get_by_label("Purpose").fill("<script>alert(1)</script>")
    page.evaluate(DROP, ["<img src=x>.png", base64.b64encode(b"no picture").decode()])
    said = page.get_by_role("alert")
    expect(said).to_contain_text("<img src=x>.png: not a JPEG, PNG or WebP image")
    visit.complaints[:] = [
        one for one in visit.complaints if "422" not in one
    ]  # the browser's note of the status
    drop(page)
    expect(hits(page)).to_have_count(6)
    page.get_by_label("From").fill("2030-01-01T00:00")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".note")).to_contain_text("none is left by: from 2030")


def test_without_a_script_one_can_search(visit, server, tmp_path: Path) -> None:
    page = visit(address(server), java_script_enabled=False)
    (tmp_path / "night.png").write_bytes(drawn(77))
    page.locator("input[type=file]").set_input_files(tmp_path / "night.png")
    page.get_by_label("Purpose").fill("no script")
    page.get_by_role("button", name="Search").click()
    expect(hits(page)).to_have_count(6)
    assert page.get_by_label("Purpose").input_value() == "no script"


def test_one_signs_in_with_a_token(visit, filled: Path) -> None:
    with running(filled, tokens=Tokens([("search", TOKEN)])) as server:
        page = visit(address(server))
        assert page.url.endswith("/login")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Go on").click()
        page.get_by_label("Purpose").fill("signed in")
        drop(page)
        expect(hits(page)).to_have_count(6)
        pictures_are_there(page)
        page.keyboard.press("s")
        expect(hits(page).nth(0)).to_have_attribute("data-verdict", "same")
        assert TOKEN not in page.evaluate("document.cookie")
