"""The HTML report, as a file and as a browser sees it."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmt.alignment.matrix import AlignmentMatrix
from nmt.alignment.report import ReportHead, ReportOption, write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SRC = ["I", "love", "</script><b>you", "."]


def option(words: list[str], score: float, confidence: float = 0.25, text: str = "") -> ReportOption:
    weights = np.full((len(words), 4), 0.05, dtype=np.float32)
    weights[np.arange(len(words)), np.arange(len(words)) % 4] = 0.85
    matrix = AlignmentMatrix(weights, SRC, words, "words", "dropped")
    return ReportOption(matrix, [confidence] * len(words), score, ("I love </script><b>you.", text))


@pytest.fixture
def report(tmp_path: Path) -> Path:
    first = [
        option(["je", "t'", "aime", "."], -0.5, text="je t'aime."),
        option(["j'", "aime", "."], -1.5, text="j'aime."),
    ]
    others = [[option(["un", "chat"], -1.0, 0.9)]] * 998
    last = [option(["le", "chien", "le", "chien"], -2.0, 0.1)]
    references = ["je t'aime beaucoup.", *["un chat"] * 998, "le chien noir"]
    head = ReportHead({"model": "toy", "BLEU": "12.34"}, ("en", "fr"))
    write_report(tmp_path / "report.html", [first, *others, last], head, references)
    return tmp_path / "report.html"


def test_the_page_holds_everything_and_asks_nothing_of_a_network(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    without_data = re.sub(r'<script id="data".*?</script>', "", text, flags=re.DOTALL)
    assert not re.search(r"<(link|img|iframe)|(src|href)\s*=\s*[\"'](?!data:)|@import|url\(|fetch\(", without_data)
    assert set(re.findall(r"https?://[^\"]*", without_data)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "@@" not in text
    assert report.stat().st_size < 10 * 2**20
    held = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert held is not None
    data = json.loads(held[1])
    assert len(data["sentences"]) == 1000
    first = data["sentences"][0]
    assert first["src"] == SRC  # words are data, never markup
    assert [one["tgt"] for one in first["options"]] == [["je", "t'", "aime", "."], ["j'", "aime", "."]]
    assert [one["glued"] for one in first["options"]] == [[2, 3], [1, 2]]
    assert first["options"][0]["weights"][1] == [5, 85, 5, 5]
    assert first["options"][0]["links"] == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert first["options"][0]["confidence"] == [25] * 4
    assert (first["reference"], first["reference_glued"]) == (["je", "t'", "aime", "beaucoup", "."], [2, 4])
    assert data["head"]["BLEU"] == "12.34"
    assert data["languages"] == ["en", "fr"]


@pytest.fixture
def page(report: Path) -> Iterator[Any]:
    """The page in a browser, which may not ask for anything nor fail."""
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    library = pytest.importorskip("playwright.sync_api")
    with library.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        asked: list[str] = []
        errors: list[str] = []
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(report.as_uri())
        opened.wait_for_function("document.querySelectorAll('article').length === 1000")
        yield opened
        assert asked == [report.as_uri()]
        assert errors == []
        browser.close()


def test_in_a_browser_words_light_what_they_are_tied_to(page: Any) -> None:
    first = page.locator("article").first
    assert first.locator(".source .word").all_inner_texts() == SRC
    assert page.locator("b").count() == 0
    assert first.locator(".links line").count() == 4
    first.locator(".target .word").nth(1).hover()
    weights = [
        float(re.findall(r"[\d.]+", word.get_attribute("style"))[-1]) for word in first.locator(".source .word").all()
    ]
    assert weights == [0.05, 0.85, 0.05, 0.05]
    assert first.locator(".target .word.unsure").count() == 4
    assert first.locator(".target").get_attribute("lang") == "fr"
    assert "BLEU: 12.34" in page.inner_text("#about")
    page.check("#show-matrix")
    page.wait_for_selector("table.matrix")
    assert page.locator("article").first.locator("td[title]").count() == 16


def test_other_translations_and_the_reference_show_their_differences(page: Any) -> None:
    first = page.locator("article").first
    assert first.locator(".reference mark").all_inner_texts() == ["beaucoup"]
    assert first.locator(".reference").inner_text() == "reference: je t'aime beaucoup."
    assert first.locator("ol.others mark").all_inner_texts() == ["j'"]
    first.locator("ol.others button").nth(1).click()
    assert first.locator(".target .word").all_inner_texts() == ["j'", "aime", "."]
    assert first.locator("ol.others mark").all_inner_texts() == ["je", "t'"]


def test_sentences_are_searched_ordered_and_linked(page: Any) -> None:
    page.fill("#search", "chien")
    page.wait_for_function("document.querySelectorAll('article').length === 1")
    assert page.locator("article").get_attribute("id") == "s1000"
    assert page.inner_text("#state") == "1 sentence with “chien”"
    page.fill("#search", "t'aime.")  # as it reads, without spaces
    page.wait_for_function("document.querySelectorAll('article').length === 1 && document.querySelector('#s1')")
    page.fill("#search", "")
    page.wait_for_function("document.querySelectorAll('article').length === 1000")
    for order, first in (("unsure", "s1000"), ("repetition", "s1000"), ("omission", "s2"), ("given", "s1")):
        page.select_option("#order", order)
        page.wait_for_function(f"document.querySelector('article').id === '{first}'")
    assert page.locator("#s7 a").get_attribute("href") == "#s7"


def test_a_sentence_is_one_stop_of_the_tab_key_and_arrows_move_inside(page: Any) -> None:
    first = page.locator("article").first
    assert first.locator(".word:not([tabindex='-1'])").count() == 2  # one on each side
    first.locator(".source .word").first.focus()
    page.keyboard.press("ArrowRight")
    focused = "document.activeElement.innerText"
    assert page.evaluate(focused) == "love"
    assert page.locator(".word.lit").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "je"
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(focused) == "love"


def test_latin_words_in_a_right_to_left_sentence_keep_their_order(page: Any, tmp_path: Path) -> None:
    words = ["أسكن", "في", "New", "York", "مع", "أخي"]
    mixed = option(words, -1.0, 0.9, text=" ".join(words))
    write_report(tmp_path / "mixed.html", [[mixed]], ReportHead({}, ("en", "ar")))
    other = page.context.new_page()
    other.goto((tmp_path / "mixed.html").as_uri())
    other.wait_for_selector(".target .word")
    left = [word.bounding_box()["x"] for word in other.locator(".target .word").all()]
    assert left[0] > left[1] > left[3] > left[2] > left[4] > left[5]  # York stands to the right of New
