"""Pictures of matrices: every script is drawn, or the log says what is missing."""

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager, image

from nmt import fonts
from nmt.alignment import heatmap
from nmt.alignment.heatmap import _printable, _width, draw_grid, draw_heatmaps, save_heatmaps
from nmt.alignment.matrix import AlignmentMatrix

SCRIPTS = ["猫が眠る", "ฉันรัก", "مرحبا", "मुझे", "고양이", "ᚠᚢ", "a\u3000b", "❤\ufe0f", "🙂"]


def matrix_of(src: list[str], tgt: list[str]) -> AlignmentMatrix:
    weights = np.full((len(tgt), len(src)), 1 / len(src), dtype=np.float32)
    return AlignmentMatrix(weights, src, tgt, "words", "dropped")


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    fonts._advise.cache_clear()


def test_words_of_every_script_are_drawn_without_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        for _ in range(2):
            save_heatmaps([matrix_of(SCRIPTS, ["a", "cat"]), matrix_of(["a"], SCRIPTS)], tmp_path / "a.png")
        draw_grid([[matrix_of(SCRIPTS, SCRIPTS)]], ["模型"]).savefig(tmp_path / "b.png")
    assert len(caplog.records) == len({record.getMessage() for record in caplog.records}) <= 2


def test_the_log_names_a_package_of_fonts_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    monkeypatch.setattr(fonts, "_find_new_fonts", lambda: None)
    for _ in range(2):
        chosen = fonts.figure_fonts(["猫が眠る cat"])
    assert chosen.families == ["DejaVu Sans"]
    assert chosen.drawable("猫 cat") == "□ cat"
    [record] = caplog.records
    assert "fonts-noto-cjk" in record.getMessage()


def test_a_font_that_has_the_characters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [entry for entry in font_manager.fontManager.ttflist if entry.name == "DejaVu Sans"]
    entries = [*own, font_manager.FontEntry(fname="cjk.otf", name="Some CJK")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    monkeypatch.setattr(fonts, "_find_new_fonts", lambda: None)
    has = fonts._characters
    monkeypatch.setattr(fonts, "_characters", lambda path: frozenset("猫") if path == "cjk.otf" else has(path))
    chosen = fonts.figure_fonts(["猫 cat"])
    assert chosen.families == ["DejaVu Sans", "Some CJK"]
    assert chosen.drawable("猫 cat") == "猫 cat"


def test_dollar_signs_are_text(tmp_path: Path) -> None:
    save_heatmaps([matrix_of(["$\\frac$", "$5"], ["5", "$"])], tmp_path / "a.png")
    draw_grid([[matrix_of(["a"], ["b"])]], ["$\\frac$"]).savefig(tmp_path / "b.png")


def test_many_sentences_stand_in_several_columns(tmp_path: Path) -> None:
    one = matrix_of([f"w{n}" for n in range(5)], [f"w{n}" for n in range(30)])
    few, many = draw_heatmaps([one] * 2), draw_heatmaps([one] * 50)
    assert few.get_size_inches()[0] < few.get_size_inches()[1]
    width, height = many.get_size_inches()
    assert 1 / 3 < width / height < 3
    assert sum(axis.axison for axis in many.axes) == 50


def test_marks_that_combine_take_no_column() -> None:
    assert _width("cat") == 3
    assert _width("ที่") == 1
    assert _width("e\u0301") == 1
    assert _width("猫") == 2
    assert _width("\u1112\u1161\u11ab") == 2  # a Korean syllable in three parts
    assert _width("می\u200cخواهم") == 7
    assert _printable("می\u200cخواهم \u202ea") == "می\u200cخواهم ·a"


def test_a_picture_of_many_matrices_has_a_limited_number_of_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heatmap, "_MOST_PIXELS", 10_000)
    save_heatmaps([matrix_of(list("abcde"), list("vwxyz"))] * 4, tmp_path / "small.png")
    height, width, _ = image.imread(tmp_path / "small.png").shape
    assert 8_000 < height * width < 12_000


def test_a_grid_has_room_for_words_of_any_length(tmp_path: Path) -> None:
    def widths(word: str) -> tuple[float, float]:
        matrix = AlignmentMatrix(np.ones((1, 1), dtype=np.float32), [word], [word], "words", "dropped", "attention")
        figure = draw_grid([[matrix], [matrix]], ["a"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # matplotlib warns if the words leave no room for the matrices
            figure.savefig(tmp_path / "grid.png")
        width, height = figure.get_size_inches()
        return float(width), float(height)

    assert widths("a") == widths("a" * 12)
    assert widths("a" * 200) > widths("a")
