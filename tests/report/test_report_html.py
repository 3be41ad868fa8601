"""Markup: text stays text, whatever it says."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from ivreid.report.html import Html, absent, el, join, table, text

# a NUL or a lone carriage return cannot survive an HTML parser, escaped or not
WORDS = st.text(st.characters(exclude_characters="\0\r", exclude_categories=("Cs",)))


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.data += data


def parse(markup: str) -> Seen:
    seen = Seen()
    seen.feed(markup)
    seen.close()
    return seen


@given(WORDS, WORDS)
def test_any_text_comes_back_as_the_same_text(words, value):
    seen = parse(el("p", words, title=value))
    assert seen.tags == [("p", {"title": value})]
    assert seen.data == words


@given(st.lists(WORDS, max_size=4))
def test_join_escapes_every_part_and_the_separator(parts):
    assert parse(el("p", join(parts, "<hr>"))).data == "<hr>".join(parts)


def test_markup_passes_unchanged_and_nothing_is_nothing():
    assert el("p", Html("<b>x</b>"), None, 3) == "<p><b>x</b>3</p>"
    assert text(None) == ""


def test_attribute_names_and_switches():
    assert el("svg", class_="a", aria_hidden="true", x=None, open=True, y=False) == (
        '<svg class="a" aria-hidden="true" open></svg>'
    )
    assert el("img", src="data:,") == '<img src="data:,">'


def test_a_table_names_each_cell_by_its_heading():
    seen = parse(table(["A", "B <i>"], [["x", "<script>"]]))
    assert ("td", {"data-label": "B <i>"}) in seen.tags
    assert [tag for tag, _ in seen.tags if tag in ("i", "script")] == []
    assert ("th", {"scope": "row"}) in seen.tags


def test_a_reason_ends_in_one_full_stop():
    assert absent("no file.") == absent("no file")
    assert "no file.</p>" in absent("no file")
