"""The whole page: self-contained, well-formed, accessible, safe, complete even where parts are missing."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_fixture import CONFIG, embeddings, extras, metrics, picture, result, results, samples

from ivreid.errors import ImageError, UsageError
from ivreid.report import ReportInput, build_report, choose_lists
from ivreid.report.html import VOID
from ivreid.types import Embeddings, ImageTable

ROWS = samples(10, 2)
HOSTILE = "\"><img src=x onerror=alert(1)><script>alert(2)</script>'&amp;<!--"


@pytest.fixture(scope="module")
def whole() -> ReportInput:
    both = embeddings(ROWS, noise=1.5)
    by_path = {sample.path: sample for sample in ROWS}
    query, gallery = both.take(both.images.infrared), both.take(~both.images.infrared)
    return ReportInput(
        title="run",
        subtitle="iv-reid",
        results=results(),
        metrics=metrics(),
        config_text=CONFIG,
        environment={"versions": {"torch": "2.13.0"}, "git_revision": None, "devices": ["cpu", "cuda"]},
        embeddings=both,
        ranked=choose_lists(query, gallery, None, title="the title"),
        image_loader=lambda path: picture(by_path[path]),
        selection="validation",
    )


class Page(HTMLParser):
    """Collects elements and refuses tags that do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag} repeats an attribute"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def test_the_page_nests_and_its_links_lead_somewhere(whole):
    page = Page(build_report(whole))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [attrs["href"].removeprefix("#") for attrs in page.all("a")]
    assert set(targets) <= set(ids)
    sections = {attrs["id"] for attrs in page.all("section")}
    assert sections == {
        "results", "paper", "curves", "ranked", "failures", "queries", "breakdown", "distances", "verification", "map",
        "training", "configuration",
    }  # fmt: skip
    assert sections <= set(targets)
    assert len(page.all("h1")) == 1


def test_nothing_is_loaded_from_anywhere(whole):
    text = build_report(whole)
    page = Page(text)
    names = {tag for tag, _ in page.elements}
    assert not names & {
        "link",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "video",
        "audio",
        "source",
    }
    for tag, attrs in page.elements:
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            if attrs.get(name):
                assert attrs[name].startswith("data:image/jpeg;base64," if tag == "img" else "#")
    assert not re.search(r"https?://|url\(|@import", text)
    (policy,) = (a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';") and "unsafe-eval" not in policy
    assert "img-src data:;" in policy
    data, script = page.all("script")
    assert data["type"] == "application/json" and script == {}
    code = files("ivreid.report").joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and f"<script>{code}</script>" in text
    assert not re.search(
        r"fetch\(|XMLHttpRequest|import\(|eval\(|innerHTML|insertAdjacentHTML|document\.write", code
    )


def test_every_picture_and_chart_says_what_it_shows(whole):
    page = Page(build_report(whole))
    alts = [attrs.get("alt") for attrs in page.all("img")]
    assert len(alts) >= 8 * 11
    assert all(alts)
    assert {re.match(r"Query|Rank \d+, (right|wrong)", alt)[0].split(", ")[-1] for alt in alts} == {
        "Query", "right", "wrong",
    }  # fmt: skip
    for attrs in page.all("svg"):
        assert attrs.get("aria-label") or attrs.get("aria-hidden") == "true"
    assert len(page.all("figure")) == len(page.all("figcaption")) >= 8


def test_right_and_wrong_differ_without_colour(whole):
    text = build_report(whole)
    places = re.findall(r'<li class="(right|wrong)(?: late)?">.*?<b class="sign"[^>]*>(.)</b>', text)
    assert set(places) == {("right", "✓"), ("wrong", "✗")}
    style = files("ivreid.report").joinpath("page.css").read_text()
    assert re.search(r"\.right \.frame \{ border: [\d.]+px solid", style)
    assert re.search(r"\.wrong \.frame \{ border: [\d.]+px dashed", style)


def test_the_figures_are_those_of_the_results(whole):
    first = result(0.463, seed=1)
    words = Page(build_report(whole)).words
    for name in ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP"):
        assert f"{100 * first['mean'][name]:.1f} ± {100 * first['std'][name]:.1f}" in words
    assert first["title"] in words
    assert first["notes"][0] in words
    assert "60 valid of 96 queries" in words


def test_rows_that_are_not_plain_are_marked_and_never_head_the_page():
    plain, ranked = result(0.4), {**result(0.6, rerank="k-reciprocal"), "tta": "flip"}
    marked = build_report(ReportInput("t", results=[ranked, plain]))
    assert "re-ranked: k-reciprocal" in marked
    assert "test-time augmentation: flip" in marked
    assert "must not be compared" in marked
    header = marked[marked.index("<header>") : marked.index("</header>")]
    assert f"{100 * plain['mean']['rank1']:.1f}" in header
    assert "badge" not in header
    assert "must not be compared" not in build_report(ReportInput("t", results=[plain]))
    alone = build_report(ReportInput("t", results=[ranked]))
    assert "badge" in alone[alone.index("<header>") : alone.index("</header>")]


def test_one_trial_has_no_spread():
    page = build_report(ReportInput("t", results=[result(trials=1)]))
    words = Page(page).words
    assert "one trial only" in words
    assert "±" not in words.replace("mean ± standard deviation", "")
    assert "Every trial" not in words


def test_an_empty_run_gives_a_page_of_reasons():
    page = Page(build_report(ReportInput("empty")))
    assert [attrs["id"] for attrs in page.all("section")] == ["configuration", "missing"]
    for name in (
        "Results, Ranking curves: ",
        "Ranked lists, Worst failures, All queries: ",
        "Distances, Embedding map: ",
        "Training: ",
    ):
        assert name in page.words
    given = ("results", "metrics", "config", "environment", "embeddings", "ranked")
    words = Page(build_report(ReportInput("empty", reasons={part: f"why {part}" for part in given}))).words
    for part in given:
        assert f"why {part}." in words


@pytest.mark.parametrize("part", ["results", "metrics", "config_text", "environment", "embeddings", "ranked"])
def test_each_part_may_be_missing_alone(whole, part):
    empty = {"results": (), "metrics": (), "config_text": "", "environment": {}}.get(part)
    page = Page(build_report(replace(whole, **{part: empty})))
    whole_page = Page(build_report(whole))
    assert "Not shown" not in whole_page.words
    assert "Not shown" in page.words


def test_pictures_that_cannot_be_opened_leave_their_places(whole):
    def refuse(path):
        raise ImageError(f"{path}: the file is <empty>")

    page = Page(build_report(replace(whole, image_loader=refuse)))
    assert page.all("img") == []
    assert "the file is <empty>" in page.words
    blanks = [a for t, a in page.elements if a.get("class") == "blank"]
    assert len(blanks) >= 8 * 11
    assert all("Rank" in a["aria-label"] or "Query" in a["aria-label"] for a in blanks)
    no_folder = replace(whole, image_loader=None, reasons={"images": "the disk is away"})
    assert "the disk is away" in Page(build_report(no_folder)).words


def test_a_late_first_match_stands_apart_at_its_rank():
    count = 30
    table = ImageTable(
        np.r_[1, 1, np.arange(2, count + 1)],
        np.ones(count + 1),
        np.arange(1, count + 2),
        [True, *[False] * count],
    )
    vectors = np.ones((count + 1, 2), dtype=np.float32)
    vectors[:, 1] = np.arange(count + 1) / count
    vectors[1, 1] = 2  # the match is the farthest of all
    both = Embeddings(vectors, table)
    lists = choose_lists(both.take(slice(0, 1)), both.take(slice(1, None)), None, title="t")
    assert '<li class="right late">' in build_report(ReportInput("t", ranked=lists))
    assert lists.sample[0].first_match.rank == count


def test_no_text_of_the_user_becomes_markup(whole):
    rows = [
        {**r, "title": HOSTILE, "notes": [HOSTILE], "rerank": HOSTILE, "fingerprints": {HOSTILE: HOSTILE}}
        for r in results()
    ]
    log = [{**row, "terms": {HOSTILE: 1.0, "b": 2.0}, "epoch": HOSTILE} for row in metrics(20, 10)]
    paths = tuple(HOSTILE + path for path in whole.embeddings.images.paths)
    images = whole.embeddings.images
    both = Embeddings(
        whole.embeddings.vectors,
        ImageTable(images.pids, images.camids, images.frames, images.infrared, paths),
    )
    lists = choose_lists(both.take(images.infrared), both.take(~images.infrared), None, title=HOSTILE)

    def load(path):
        if path.endswith("1.jpg"):
            raise ImageError(f"{path}: {HOSTILE}")
        return Image.new("RGB", (8, 16))

    page = Page(
        build_report(
            ReportInput(
                HOSTILE, HOSTILE, rows, log, HOSTILE, {HOSTILE: [HOSTILE]}, both, lists, load, HOSTILE,
                dict.fromkeys(("results", "metrics", "images"), HOSTILE), {HOSTILE: 0.5}, {HOSTILE: log},
            )
        )
    )  # fmt: skip
    assert page.all("script") == [{"type": "application/json", "id": "page-data"}, {}]
    assert all(attrs["src"].startswith("data:image/jpeg") for attrs in page.all("img"))
    assert page.words.count(HOSTILE) > 10
    assert any(attrs.get("title", "").startswith(HOSTILE) for attrs in page.all("img"))


def test_the_regions_that_decided_are_drawn_or_their_lack_is_told(whole):
    asked = []

    def explain(pairs):
        asked.extend(pairs)
        return [(np.ones((2, 1)), np.arange(8.0).reshape(4, 2)) for _ in pairs]

    page = Page(build_report(replace(whole, attention=explain)))
    shown = [a["alt"] for a in page.all("img") if a["alt"].endswith("with the regions that decided")]
    assert len(shown) == 2 * len(asked) >= 4
    assert all(query[1] and not met[1] for query, met in asked)
    hits = [alt for alt in shown if alt.startswith("Rank 1, right")]
    assert 0 < len(hits) <= 6 and sum(alt.startswith("Rank 1, wrong") for alt in shown) == len(asked) - len(
        hits
    )

    def refuse(pairs):
        raise UsageError("this network has no map")

    assert (
        "which regions decided: this network has no map."
        in Page(build_report(replace(whole, attention=refuse))).words
    )


def test_a_map_is_light_where_it_decides():
    from ivreid.report.attention import overlay

    heat = np.zeros((4, 2))
    heat[0] = 5.0
    drawn = np.asarray(overlay(Image.new("RGB", (10, 20), (90, 90, 90)), heat).convert("L"), dtype=float)
    assert drawn[:30].mean() > drawn[-60:].mean() + 40
    flat = np.asarray(overlay(Image.new("RGB", (10, 20)), np.zeros((2, 2))))
    assert (flat == flat[0, 0]).all()
    assert (np.asarray(overlay(Image.new("RGB", (10, 20)), np.full((2, 2), -1.0))) == flat).all()


def test_the_page_stays_small_even_with_noise_for_pictures(whole):
    noise = np.random.default_rng(0)

    def load(path):
        return Image.fromarray(noise.integers(0, 256, (384, 192, 3), dtype=np.uint8))

    assert len(build_report(replace(whole, image_loader=load)).encode()) < 3_000_000


def test_the_page_is_the_same_every_time(whole):
    assert build_report(whole) == build_report(whole)


@pytest.mark.parametrize(
    "damage",
    [
        {"verification": {"area": 0.9}},
        {"verification": {**extras()["verification"], "roc": {"fpr": [0.1], "tpr": []}}},
        {"breakdown": {"places": [{"query": "indoor"}], "hardest": 3}},
        {"breakdown": "none"},
        {"intervals": {"rank1": [0.1, 0.2]}},
    ],
)
def test_a_damaged_block_is_told_and_the_rest_stands(damage):
    words = Page(build_report(ReportInput("t", results=[{**result(), **extras(), **damage}]))).words
    assert words.count("results.json does not hold what this part needs") == 1
    assert "Ranking curves" in words


def test_whole_blocks_are_not_called_damaged(whole):
    assert "does not hold what" not in build_report(whole)


def test_a_damaged_log_is_told():
    rows = [{"kind": "step", "step": "one", "loss": 1.0}]
    assert "metrics.jsonl does not hold" in build_report(ReportInput("t", metrics=rows))


def test_protocol_options_name_the_curves():
    other = {**result(), "protocol": "regdb", "options": {"direction": "infrared-to-visible"}}
    bare = {**result(), "protocol": "folder", "options": {}}
    page = build_report(ReportInput("t", results=[result(), other, bare]))
    for name in ("1. all 1-shot", "2. infrared-to-visible", "3. folder"):
        assert f"{name}: " in page


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
def test_words_and_curves_stand_out_from_the_paper(scheme):
    """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for what a chart is made of."""
    style = Path(str(files("ivreid.report").joinpath("page.css"))).read_text()
    block = re.findall(r":root \{(.*?)\}", style, re.S)[scheme]
    colours = dict(re.findall(r"--([\w]+): (#[0-9a-f]{6})", block))

    def contrast(name, ground):
        a, b = sorted((_luminance(colours[name]), _luminance(colours[ground])), reverse=True)
        return (a + 0.05) / (b + 0.05)

    for ground in ("paper", "panel"):
        for name in ("ink", "muted", "accent", "right", "wrong"):
            assert contrast(name, ground) >= 4.5, (name, ground)
    for series in range(8):
        assert contrast(f"c{series}", "paper") >= 3, series
