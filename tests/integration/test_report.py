"""The HTML report, as a file and as a browser sees it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from nmt.alignment.matrix import AlignmentMatrix
from nmt.alignment.report import ReportOption, write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def option(words: list[str], score: float) -> ReportOption:
    weights = np.full((len(words), 3), 0.1, dtype=np.float32)
    weights[np.arange(len(words)), np.arange(len(words)) % 3] = 0.8
    matrix = AlignmentMatrix(weights, ["I", "love", "</script><b>you"], words, "words", "dropped")
    return ReportOption(matrix, [0.25] * len(words), score)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    sentences = [[option(["je", "t'", "aime"], -0.5), option(["j'", "aime"], -1.5)]]
    sentences += [[option(["un", "chat"], -1.0)]] * 999
    write_report(tmp_path / "report.html", sentences)
    return tmp_path / "report.html"


def test_the_page_holds_everything_and_asks_nothing_of_a_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=|https?://|@import|url\(", text)
    assert page.stat().st_size < 10 * 2**20
    held = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert held is not None
    data = json.loads(held[1])
    assert len(data["sentences"]) == 1000
    first = data["sentences"][0]
    assert first["src"] == ["I", "love", "</script><b>you"]  # words are data, never markup
    assert [one["tgt"] for one in first["options"]] == [["je", "t'", "aime"], ["j'", "aime"]]
    assert first["options"][0]["weights"][1] == [10, 80, 10]
    assert first["options"][0]["confidence"] == [25, 25, 25]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_in_a_browser_words_light_what_they_are_tied_to(page: Path) -> None:
    script = """
    setTimeout(() => {
      const card = document.querySelector("article"), select = card.querySelector("select");
      const point = (kind, i) => card.querySelectorAll("." + kind + " span")[i]
        .dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
      const seen = kind => [...card.querySelectorAll("." + kind + " span")].map(span => span.style.background);
      const result = {};
      point("tgt", 1); result.src = seen("src");
      point("src", 0); result.tgt = seen("tgt");
      select.value = 1; select.dispatchEvent(new Event("change"));
      result.other = card.querySelector(".tgt").textContent.trim();
      card.querySelector("details").open = true;
      setTimeout(() => {
        result.cells = card.querySelectorAll("td[title]").length;
        result.articles = document.querySelectorAll("article").length;
        result.bold = document.querySelectorAll("b").length;
        document.title = "found" + JSON.stringify(result);
      }, 300);
    }, 300);
    """
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("more();\n</script>", f"more();\n{script}</script>"), encoding="utf-8")
    assert BROWSER is not None
    dom = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=5000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    title = re.search(r"<title>found(.*?)</title>", dom)
    assert title is not None
    found = json.loads(title[1].replace("&amp;", "&"))
    strength = [[float(re.findall(r"[\d.]+", color)[-1]) for color in found[kind]] for kind in ("src", "tgt")]
    assert strength[0] == [0.1, 0.8, 0.1]
    assert strength[1] == [0.8, 0.1, 0.1]
    assert found["other"].split() == ["j'", "aime"]
    assert (found["cells"], found["bold"]) == (6, 0)
    assert found["articles"] >= 100  # a hundred at a time, as fast as the machine can show them
