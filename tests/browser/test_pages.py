"""Tests of the report and the table of all languages in a real browser."""

import json

import pytest
from report_runs import TEXTS, judge, message, report, write_run
from running import program

WIDTHS = (1280, 390)
HOSTILE = "<script>console.log('run')</script></style></div><img src=http://example.org/x.png onerror=alert(1)>\u202eesrever \"'&"

# Returns the labels of the diagram that overlap, and those that are cut off.
LABELS = """() => {
    const svg = document.querySelector("svg.flow"), whole = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
    const overlap = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    const out = box => box.left < whole.left - 1 || box.right > whole.right + 1 || box.bottom > whole.bottom + 1;
    return {
        overlapping: boxes.flatMap(([a, box], i) => boxes.slice(i + 1).filter(([_, other]) => overlap(box, other)).map(([b]) => a + " / " + b)),
        cut: boxes.filter(([_, box]) => out(box)).map(([text]) => text),
        all: boxes.length,
    };
}"""
# Returns the elements that extend beyond the page, except in boxes with their own scrolling.
OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(one => !one.closest(".box") && one.checkVisibility()
    && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(one => one.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Return a folder with a report for each target language, one of them with texts that try to break the page."""
    folder = tmp_path_factory.mktemp("reports")
    for lang in TEXTS:
        extra = [message(f"h{i}", "en", "translated", "direct", HOSTILE, source_text=HOSTILE) for i in range(60)]
        evil = {"extra": extra, "prompts": [("native", HOSTILE)]} if lang == "pt" else {}
        write_run(folder / lang, lang, **evil)
        why = f"it cannot judge this: {HOSTILE}" if lang == "pt" else None
        found = json.dumps(judge(lang, folder / lang, model=HOSTILE, withheld=why))
        (folder / lang / lang / "evaluation/judge.json").write_text(found, encoding="utf-8")
        report(folder / lang, lang, folder / lang / lang / "report.html")
    return folder


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("lang", TEXTS)
def test_the_report_fits_the_screen_and_its_diagram_is_complete(reports, open_page, lang, width):
    page = open_page(reports / lang / lang / "report.html", width)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OUTSIDE) == []
    labels = page.evaluate(LABELS)
    assert labels["overlapping"] == [] and labels["cut"] == [] and labels["all"] > 15
    assert page.evaluate("[...document.images].filter(one => !one.complete || !one.naturalWidth).length") == 0
    assert page.locator("img").count() == 3


@pytest.mark.parametrize("lang", TEXTS)
def test_texts_have_the_direction_of_their_language(reports, open_page, lang):
    page = open_page(reports / lang / lang / "report.html")
    question, answer = TEXTS[lang]
    wanted = "rtl" if lang in ("ar", "he") else "ltr"
    for place in (
        page.locator(".answers .text", has_text=answer[:20]),
        page.locator(".pair .text", has_text=answer[:20]),
    ):
        first = place.first
        assert first.evaluate("one => getComputedStyle(one).direction") == wanted
        assert first.get_attribute("lang") == lang
    assert (
        page.locator("summary bdi", has_text=question).first.evaluate("one => getComputedStyle(one).direction")
        == wanted
    )
    # The English text next to it and the page itself are left to right.
    source = page.locator(".pair .text[lang=en]").first
    assert source.evaluate("one => getComputedStyle(one).direction") == "ltr"
    assert page.evaluate("getComputedStyle(document.body).direction") == "ltr"
    # The text has a width, so that glyphs are drawn.
    assert page.locator(".answers .text").first.bounding_box()["width"] > 100


def test_markup_in_messages_is_shown_as_text(reports, open_page):
    page = open_page(reports / "pt/pt/report.html")
    assert page.locator("script").count() == 0 and page.locator("[onerror]").count() == 0
    shown = page.locator(".pair .text", has_text="<script>").first
    assert shown.inner_text() == HOSTILE
    assert page.locator("summary bdi", has_text="<script>").first.inner_text() == HOSTILE
    assert page.locator("section").count() == 9


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_all_languages_fits_the_screen_and_links_to_reports(reports, open_page, width):
    results = reports / "pt"
    write_run(results, "he")
    metrics = [results / lang / "evaluation/metrics.json" for lang in ("pt", "he")]
    program("summary", "--metrics", *metrics, "--results", results, "--output", results / "summary.html")
    page = open_page(results / "summary.html", width)
    assert page.evaluate("document.documentElement.scrollWidth") == width and page.evaluate(OUTSIDE) == []
    assert page.locator("tbody tr").count() == 2
    page.get_by_role("link", name="Portuguese").click()
    assert page.locator("h1").inner_text() == "A chat model tuned to answer in Portuguese"
    page.go_back()
    # Hebrew has no report to link to.
    assert page.get_by_role("link").count() == 1
