"""The page of `nmt serve` in a real browser."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run", "--disable-quic"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
LINE = "I love you"


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    shutil.copytree(home / "runs/tiny", home / "other", symlinks=True, dirs_exist_ok=True)
    command = [sys.executable, "-m", "nmt", "serve", "--port", "0", "--set", "training.threads=1"]
    command += ["-m", "runs/tiny", "-m", "other", "--run", "runs/tiny"]
    with subprocess.Popen(
        command, cwd=home, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        yield running.stdout.readline().strip()
        running.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    library = pytest.importorskip("playwright.sync_api")
    with library.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, which may speak to its own server only and may not fail."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    strangers: list[str] = []
    errors: list[str] = []
    opened.on("request", lambda request: strangers.append(request.url))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(address)
    opened.wait_for_selector("#about:has-text('→')")
    yield opened
    assert not [url for url in strangers if not url.startswith((address, "data:", "blob:"))]
    assert errors == []
    context.close()


def translate(page: Any, text: str = LINE) -> None:
    page.fill("#source", "")
    page.type("#source", text)
    page.wait_for_selector("#state:text-matches('ms$')")


def target(page: Any) -> list[str]:
    return [word.inner_text() for word in page.query_selector_all(".target .word")]


def test_typing_translates_and_pointing_lights_up(page: Any) -> None:
    translate(page)
    assert page.locator(".source .word").all_inner_texts() == ["I", "love", "you"]
    assert target(page)
    assert page.locator(".links line").count() == len(target(page))
    page.hover(".target .word >> nth=0")
    assert page.locator(".source .word").nth(0).get_attribute("style") is not None
    assert page.locator(".source .weight").count() >= 1
    assert "#q=I%20love%20you" in page.url
    page.check("#show-matrix")
    page.wait_for_selector("table.matrix")
    assert page.locator("table.matrix tbody tr").count() == len(target(page))


def test_the_reader_takes_the_wheel(page: Any) -> None:
    translate(page)
    page.click(".target .word >> nth=0")
    page.wait_for_selector("#chooser li button")
    options = page.locator("#chooser li button span:first-child").all_inner_texts()
    chosen = next(option for option in options[1:] if option.isalpha())
    page.click(f"#chooser li button:has(span:text-is('{chosen}'))")
    page.wait_for_selector("button:has-text('undo my changes')")
    assert target(page)[0] == chosen
    assert page.locator(".target .word.fixed").count() == 1
    page.click("button:has-text('undo my changes')")
    page.wait_for_selector("button:has-text('undo my changes')", state="detached")


def test_the_attention_is_held_to_one_word(page: Any) -> None:
    translate(page)
    page.click(".target .word >> nth=0")
    page.wait_for_selector("#chooser li button")
    assert page.locator("#pin option").all_inner_texts() == ["all words", "I", "love", "you"]
    with page.expect_response(lambda response: response.url.endswith("/suggest")) as answered:
        page.select_option("#pin", label="you")
    assert answered.value.request.post_data_json["look_at"] == [7, 10]
    chosen = next(one["word"] for one in answered.value.json()["words"] if one["word"])
    page.wait_for_selector(f"#chooser li:first-child button span:first-child:text-is({json.dumps(chosen)})")
    page.click("#chooser li button >> nth=0")
    page.wait_for_selector(".target .word.fixed")
    assert target(page)[0] == chosen


def test_a_hidden_word_gets_no_weight(page: Any) -> None:
    translate(page)
    page.click(".source .word >> nth=1")
    page.click("#chooser button:has-text('hide this word')")
    page.wait_for_selector(".source .word.hidden")
    page.focus(".source .word >> nth=1")
    page.keyboard.press("Enter")
    page.click("#chooser button:has-text('look at this word again')")
    page.wait_for_selector(".source .word.hidden", state="detached")


def test_two_models_stand_side_by_side(page: Any) -> None:
    translate(page)
    page.select_option("#beside", "other")
    page.wait_for_selector(".columns.two")
    assert page.locator(".card .name").all_inner_texts() == ["tiny", "other"]
    assert page.locator(".columns.two .pair").count() == 2


def test_other_translations_files_and_training(page: Any) -> None:
    translate(page)
    page.check("#show-others")
    page.wait_for_selector("ol.others li")
    for kind in ("JSON", "SVG", "PNG"):
        with page.expect_download() as download:
            page.click(f"button:text-is('{kind}')")
        assert download.value.suggested_filename == f"line-1.{kind.lower()}"
        assert Path(download.value.path()).stat().st_size > 100
    page.wait_for_selector("#training:not([hidden]) svg.curve path.valid")
    assert "validation: loss" in page.inner_text("#training-text")


def test_a_link_and_the_keyboard_are_enough_on_a_phone(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark", has_touch=True)
    page = context.new_page()
    page.goto(address + "#q=the%20old%20house%20is%20beautiful%20and%20I%20see%20the%20black%20cat%20today")
    page.wait_for_selector(".target .word")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.focus("#source")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('word')"):
            break
    assert page.evaluate("document.activeElement.classList.contains('lit')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#chooser:not([hidden])")
    page.keyboard.press("Escape")
    assert page.locator("#chooser").is_hidden()
    assert page.evaluate("document.activeElement.classList.contains('word')")
    context.close()


def focused(page: Any) -> str:
    found: str = page.evaluate("() => { const e = document.activeElement; return e.className || e.tagName; }")
    return found


def test_focus_stays_where_the_reader_types_and_comes_back_after_a_change(page: Any) -> None:
    translate(page)

    def late(route: Any) -> None:
        page.wait_for_timeout(500)
        route.continue_()

    page.route("**/suggest", late)
    page.click(".target .word >> nth=0")
    assert focused(page) == "INPUT"
    page.keyboard.type("le")
    page.wait_for_selector("#chooser li button")
    assert focused(page) == "INPUT"
    page.dispatch_event("#chooser input", "keydown", {"key": "Enter", "isComposing": True})
    assert page.locator("#chooser").is_visible()
    page.unroute("**/suggest")
    page.evaluate("document.getElementById('state').textContent = ''")
    page.keyboard.press("Enter")
    page.wait_for_selector("#state:text-matches('ms$')")
    assert "word" in focused(page)
    assert page.locator(".target .word").nth(0).inner_text().startswith("le")
    page.evaluate("document.getElementById('state').textContent = ''")
    page.click("text=undo my changes")
    page.wait_for_selector("#state:text-matches('ms$')")
    assert focused(page) == "card"


def test_chosen_words_have_the_spaces_that_the_server_names(page: Any) -> None:
    words = [{"word": "l'", "probability": 0.5, "space": True}, {"word": "?", "probability": 0.5, "space": True}]
    words.append({"word": ",", "probability": 0.1, "space": False})
    page.route("**/suggest", lambda route: route.fulfill(json={"words": words}))
    weights = [[1.0], [1.0]]
    target_words = [{"text": "je", "start": 0, "end": 2}, {"text": "dors", "start": 3, "end": 7}]
    alignment = {
        "source": [{"text": "I", "start": 0, "end": 1}],
        "target": target_words,
        "links": [],
        "weights": weights,
    }
    answer = {"translatedText": "je dors", "alignment": alignment | {"from": "attention"}, "confidence": [1.0, 1.0]}
    answer["scores"] = {"score": -1.0, "log_prob": -1.0, "proven": True}
    page.route("**/translate", lambda route: route.fulfill(json=answer))
    translate(page)
    for number, prefix in enumerate(("je l'", "je ? ", "je, ")):
        page.click(".target .word >> nth=1")
        page.wait_for_selector("#chooser li button")
        with page.expect_request(lambda one: one.url.endswith("/translate") and one.post_data_json["prefix"]) as asked:
            page.click(f"#chooser li button >> nth={number}")
        assert asked.value.post_data_json["prefix"] == prefix
        page.wait_for_selector("#state:text-matches('ms$')")


def test_weights_are_text_too_and_pictures_hold_any_word(page: Any) -> None:
    translate(page)
    page.check("#show-matrix")
    page.wait_for_selector("table.matrix")
    assert all(re.fullmatch(r"\d\.\d\d", text) for text in page.locator("table.matrix tbody td").all_text_contents())
    page.focus(".target .word >> nth=0")
    assert re.search(r" \d\.\d\d", page.locator(".target .word").nth(0).get_attribute("aria-description"))
    picture = """() => {
      const words = ["WWWWWWWW", "a\u0001<"].map((text) => ({text}));
      const holder = document.createElement("div");
      const svg = matrixPicture({source: words, target: words, weights: [[1, 0], [0, 1]]});
      const wrong = new DOMParser().parseFromString(svg, "image/svg+xml").querySelector("parsererror");
      holder.innerHTML = svg;
      document.body.append(holder);
      const boxes = [...holder.querySelectorAll("text[x]")].map((text) => text.getBBox().x);
      holder.remove();
      return [wrong === null, Math.min(...boxes)];
    }"""
    is_well_formed, left = page.evaluate(picture)
    assert is_well_formed
    assert left >= 0


def test_a_text_is_copied_where_the_browser_gives_no_clipboard(page: Any) -> None:
    translate(page)
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.click("text=copy")
    page.wait_for_selector("#state:text-is('copied')")


def test_without_attention_there_are_other_translations_and_no_pictures(page: Any) -> None:
    answer = {"translatedText": "je", "alternatives": ["tu"], "alignment": None, "confidence": [1.0]}
    answer["scores"] = {"score": -1.0, "log_prob": -1.0, "proven": True}
    page.route("**/translate", lambda route: route.fulfill(json=answer))
    translate(page)
    assert page.locator(".sentence").all_inner_texts() == ["je"]
    assert page.locator("ol.others li").all_inner_texts() == ["tu"]
    assert page.locator(".pair .quiet").inner_text() == "score -1.000"
    assert page.locator(".tools button").all_inner_texts() == ["copy", "JSON"]


def test_the_training_is_shown_to_those_with_the_key(browser: Any, home: Path) -> None:
    command = [sys.executable, "-m", "nmt", "serve", "--port", "0", "--run", "runs/tiny", "--api-key", "secret"]
    with subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        opened = browser.new_page()
        opened.goto(running.stdout.readline().strip())
        opened.wait_for_selector("#key")
        assert not opened.locator("#training").is_visible()
        opened.fill("#key", "secret")
        opened.press("#key", "Tab")
        opened.wait_for_selector("#training")
        opened.close()
        running.kill()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(browser: Any, address: str, width: int, scheme: str) -> None:
    """Needs axe-core: ``npm install axe-core``, and AXE=node_modules/axe-core/axe.min.js."""
    script = os.environ.get("AXE")
    if script is None:
        pytest.skip("AXE does not name axe-core's axe.min.js")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()

    def violations() -> list[str]:
        page.add_script_tag(path=script)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        return [f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]}" for one in found]

    page.goto(address)
    page.wait_for_selector("#about:has-text('→')")
    assert violations() == []
    translate(page, "I love you\nshe sings")
    page.check("#show-matrix")
    page.check("#show-others")
    page.wait_for_selector("ol.others li")
    page.wait_for_selector("#state:text-matches('ms$')")
    page.wait_for_selector("table.matrix")
    assert violations() == []
    page.click(".target .word >> nth=0")
    page.wait_for_selector("#chooser li button")
    assert violations() == []
    page.goto(address.rstrip("/") + "/docs")
    page.wait_for_selector("main")
    assert violations() == []
    context.close()
