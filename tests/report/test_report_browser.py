"""The page in a real browser: no console error, filters and sorting, the keyboard, pictures, downloads, no script."""

from __future__ import annotations

import csv
import io
import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from report_fixture import embeddings, samples, write_features, write_run

from ivreid import write_comparison, write_report
from ivreid.analysis.full_evaluation import analyse
from ivreid.datasets.features import read_features
from ivreid.protocols import evaluate, make_protocol, write_results
from real_browser import MARKS, browsing, eventually, visits

pytestmark = MARKS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("browsed"), identities=20, images=2)
    write_features(run / "features.npz", embeddings(samples(20, 2), noise=2.5))
    both, found = read_features(run / "features.npz"), []
    for mode in ("all", "indoor"):
        protocol = make_protocol("sysu-mm01", mode=mode)
        found.append(analyse(both, protocol, evaluate(both, protocol)))
    write_results(run / "results.json", found)
    return run


@pytest.fixture(scope="module")
def browser():
    with browsing() as started:
        yield started


@pytest.fixture
def visit(browser):
    with visits(browser, viewport={"width": 1400, "height": 900}) as go:
        yield lambda path, **options: go(path.as_uri(), **options)


@pytest.fixture(scope="module")
def report(made):
    return write_report(made)


def test_the_page_is_small_and_opens_by_day_and_by_night(visit, report):
    assert report.stat().st_size < 3_000_000
    grounds = {}
    for scheme in ("light", "dark"):
        page = visit(report, color_scheme=scheme)
        grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wide
    assert grounds["light"] != grounds["dark"]


@pytest.mark.parametrize("width", [320, 390, 800, 1920])
def test_nothing_runs_out_of_the_window(visit, report, width):
    page = visit(report)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    columns = page.evaluate(
        "getComputedStyle(document.querySelector('#training .pair')).gridTemplateColumns.split(' ').length"
    )
    assert columns == {320: 1, 390: 1, 800: 1, 1920: 3}[width]


def test_queries_are_filtered_and_sorted_as_the_features_say(visit, report, made):
    from ivreid.report import choose_lists

    both, protocol = read_features(made / "features.npz"), make_protocol("sysu-mm01")
    trial = protocol.trials(both.images)[0]
    query, gallery = both.take(trial.query), both.take(trial.gallery)
    everyone = choose_lists(
        query, gallery, protocol.excluded(query.images, gallery.images), title="t"
    ).everyone
    page = visit(report)
    status = page.locator("#browser [role=status]")
    total = len(everyone.queries)
    assert f"{total} of {total} queries" in status.inner_text()

    page.get_by_label("Outcome").select_option("wrong")
    wrong = int((everyone.first_match > 1).sum())
    assert 0 < wrong < total and status.inner_text().startswith(f"{wrong} of {total}")
    page.get_by_label("Outcome").select_option("all")
    page.get_by_label("Camera", exact=True).select_option("6")
    six = [i for i, q in enumerate(everyone.queries) if q.camid == 6]
    assert status.inner_text().startswith(f"{len(six)} of {total}")
    mean = 100 * np.mean([round(everyone.average_precision[i], 3) for i in six])
    assert f"mean average precision {mean:.1f}%" in status.inner_text()
    page.get_by_label("Order").select_option("easy")
    easiest = max(everyone.average_precision[six])
    assert f"AP {100 * easiest:.1f}%" in page.locator(".queries button").first.inner_text()
    pid = everyone.queries[0].pid
    page.get_by_label("Find").fill(str(pid))
    assert status.inner_text().startswith(f"{sum(everyone.queries[i].pid == pid for i in six)} of")
    page.get_by_label("Find").fill("nobody at all")
    assert status.inner_text() == "No query fits these filters." and page.locator(".queries li").count() == 0


def test_a_chosen_query_shows_its_list_with_pictures(visit, report):
    page = visit(report)
    page.locator(".queries button").nth(3).click()
    chosen = page.locator(".queries [aria-current]")
    assert chosen.count() == 1 and page.locator(".detail .hits > li").count() == 10
    assert page.locator(".detail img").count() == 11
    assert page.evaluate(
        "[...document.querySelectorAll('.detail img')].every(i => i.alt && i.src.startsWith('data:image/jpeg'))"
    )
    eventually(page, "[...document.querySelectorAll('.detail img')].every(i => i.complete && i.naturalWidth)")
    page.get_by_role("button", name="Next").click()
    assert "page 2 of" in page.locator(".pager").inner_text()


def test_everything_is_reached_by_the_keyboard(visit, report):
    page = visit(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_label("Find").focus()
    for _ in range(4):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.query") is not None
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "true"
    page.locator("svg.pictured").first.focus()
    page.keyboard.press("ArrowRight")
    tip = page.locator(".tip")
    first = tip.inner_text()
    assert tip.is_visible() and "identity" in first
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert tip.inner_text() == first
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select, a, [tabindex=\"0\"]')].filter(e => e.tabIndex >= 0 && "
        "!(e.innerText || e.textContent).trim() && !e.getAttribute('aria-label') && !e.labels?.length).length"
    )
    assert unnamed == 0


def test_pointing_at_a_mark_of_the_map_shows_its_picture(visit, report):
    page = visit(report)
    mark = page.locator("#map svg.pictured").nth(1).locator("[data-image]").first
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    eventually(page, "document.querySelector('.tip img')?.naturalWidth > 0")
    assert "identity" in page.locator(".tip").inner_text()


def test_people_sort_by_each_column(visit, report):
    page = visit(report)
    column = "[...document.querySelectorAll('#people tbody tr')].map(r => parseFloat(r.cells[4].textContent))"
    assert page.evaluate(column) == sorted(page.evaluate(column))
    button = page.locator("#people thead button").nth(4)
    button.click()
    button.click()
    assert page.evaluate(column) == sorted(page.evaluate(column), reverse=True)
    assert page.locator("#people th[aria-sort=descending]").count() == 1


def test_tables_and_charts_can_be_taken_away(visit, report, made):
    page = visit(report)
    with page.expect_download() as taken:
        page.locator("#results button.file").first.click()
    rows = list(csv.reader(io.StringIO(Path(taken.value.path()).read_text())))
    found = json.loads((made / "results.json").read_text())
    assert rows[0][1] == "Rank-1" and len(rows) == 1 + len(found)
    assert rows[1][1].startswith(f"{100 * found[0]['mean']['rank1']:.1f} ±")
    page.evaluate("document.querySelector('#people tbody tr').cells[0].textContent = '=1+1'")
    page.evaluate("document.querySelector('#people tbody tr').cells[1].textContent = '-2.5'")
    with page.expect_download() as taken:
        page.locator("#people button.file").first.click()
    people = list(csv.reader(io.StringIO(Path(taken.value.path()).read_text())))
    assert people[1][:2] == ["'=1+1", "-2.5"]  # what a spreadsheet would execute is text, a number a number
    with page.expect_download() as taken:
        page.get_by_role("button", name="CSV: every query shown here").click()
    rows = list(csv.DictReader(io.StringIO(Path(taken.value.path()).read_text())))
    assert np.mean([float(row["average precision"]) for row in rows]) == pytest.approx(
        found[0]["trials"][0]["mAP"], abs=1e-3
    )
    with page.expect_download() as taken:
        page.locator("#curves figcaption button").first.click()
    drawing = ElementTree.parse(taken.value.path()).getroot()
    lines = [path.get("style") for path in drawing.iter("{http://www.w3.org/2000/svg}path")]
    assert any("stroke: rgb(0, 95, 158)" in style for style in lines if style)


def test_without_a_script_everything_still_reads(visit, report):
    page = visit(report, java_script_enabled=False)
    words = page.locator("body").inner_text()
    for heading in ("Results", "All queries", "People", "Embedding map", "For the paper"):
        assert heading in words
    assert page.locator("#browser tbody tr").count() == 60
    assert page.locator("button").count() == 0


def test_on_paper_the_controls_are_gone(visit, report):
    page = visit(report)
    page.emulate_media(media="print")
    assert not any(page.locator(one).first.is_visible() for one in (".filters", ".file", "nav", ".pager"))
    assert page.locator("#browser .detail .hits > li").first.is_visible()


def test_a_page_of_several_runs_opens_without_complaint(visit, made, tmp_path):
    other = shutil.copytree(made, tmp_path / "other")
    write_features(other / "features.npz", embeddings(samples(20, 2), seed=9, noise=2.2))
    page = visit(write_comparison([made, other], tmp_path / "c.html"))
    assert page.locator("#wins .win img").count() > 3
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_all_pictures_lie_in_a_folder_when_asked_for(visit, made, tmp_path):
    run = shutil.copytree(made, tmp_path / "run")
    out = write_report(run, full=True)
    assert len(list((run / "report_pictures").glob("*.jpg"))) == 20 * 6 * 2
    page = visit(out)
    page.locator(".queries button").first.click()
    eventually(page, "document.querySelectorAll('.detail img').length === 11")
    eventually(page, "[...document.querySelectorAll('.detail img')].every(i => i.naturalWidth > 0)")
    assert "report_pictures/" in page.locator(".detail img").first.get_attribute("src")
