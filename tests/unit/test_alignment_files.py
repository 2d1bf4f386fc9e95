import json
from pathlib import Path

import numpy as np
import pytest

from nmt.alignment.files import read_alignments, write_alignments
from nmt.alignment.heatmap import terminal_heatmap
from nmt.alignment.matrix import AlignmentMatrix
from nmt.errors import AlignmentError

LOVE = AlignmentMatrix(
    np.array([[0.9, 0.1, 0.0], [0.0, 0.2, 0.8], [0.1, 0.6, 0.3]], dtype=np.float32),
    ["I", "love", "you"],
    ["je", "t'", "aime"],
    "words",
    "dropped",
)
EMPTY = AlignmentMatrix(np.zeros((0, 0), dtype=np.float32), [], [], "words", "dropped")


def test_json_and_npz_hold_numbers_tokens_level_and_policy(tmp_path: Path) -> None:
    write_alignments(tmp_path / "a.json", [LOVE, EMPTY])
    loaded = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert (loaded["level"], loaded["eos"]) == ("words", "dropped")
    assert loaded["sentences"][0]["tgt"] == ["je", "t'", "aime"]
    np.testing.assert_allclose(loaded["sentences"][0]["weights"], LOVE.weights, atol=1e-6)
    write_alignments(tmp_path / "a.npz", [LOVE, EMPTY])
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert str(arrays["eos"]) == "dropped"
        assert arrays["src_0"].tolist() == ["I", "love", "you"]
        assert np.array_equal(arrays["weights_0"], LOVE.weights)
        assert arrays["weights_1"].shape == (0, 0)


def test_pharaoh_has_a_line_for_every_sentence(tmp_path: Path) -> None:
    write_alignments(tmp_path / "a.pharaoh", [LOVE, EMPTY, LOVE])
    assert (tmp_path / "a.pharaoh").read_text() == "0-0 2-1 1-2\n\n0-0 2-1 1-2\n"


def test_a_picture_is_a_picture(tmp_path: Path) -> None:
    write_alignments(tmp_path / "a.png", [LOVE, EMPTY])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(AlignmentError, match=r"\.json, \.npz, \.pharaoh, \.png"):
        write_alignments(tmp_path / "a.txt", [LOVE])


def test_the_terminal_shows_words_along_both_sides() -> None:
    lines = terminal_heatmap(LOVE).splitlines()
    assert lines[0].split() == ["I", "love", "you"]
    assert [line.split()[0] for line in lines[1:]] == ["je", "t'", "aime"]
    assert lines[2].rstrip().endswith("you 0.80")
    assert len({line.index("│") for line in lines[1:]}) == 1
    assert "█" in lines[1].split("│")[1][:5]


def test_a_terminal_that_is_too_narrow_shows_the_two_heaviest_words_of_each_row() -> None:
    wide = terminal_heatmap(LOVE, width=200)
    assert wide == terminal_heatmap(LOVE)
    limit = max(map(len, wide.splitlines()))
    assert terminal_heatmap(LOVE, width=limit) == wide
    assert terminal_heatmap(LOVE, width=limit - 1).splitlines() == [
        "  je │  I 0.90  love 0.10",
        "  t' │  you 0.80  love 0.20",
        "aime │  love 0.60  you 0.30",
    ]


def test_the_terminal_of_standard_error_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.alignment.heatmap._terminal_width", lambda: 20)
    assert len(terminal_heatmap(LOVE).splitlines()) == 3


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = str(tmp_path / f"a{suffix}")
    write_alignments(path, [LOVE, EMPTY, LOVE])
    for read, written in zip(read_alignments(path), [LOVE, EMPTY, LOVE], strict=True):
        np.testing.assert_allclose(read.weights, written.weights, atol=1e-6)
        assert (read.src_tokens, read.tgt_tokens, read.level, read.eos, read.read_from) == (
            written.src_tokens,
            written.tgt_tokens,
            written.level,
            written.eos,
            written.read_from,
        )


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"PK\x03\x04 no archive", b"\x80\x04pickle"])
@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(AlignmentError, match=f"a{suffix}"):
        read_alignments(path)
    with pytest.raises(AlignmentError, match="cannot be read"):
        read_alignments(tmp_path / f"missing{suffix}")


def test_rounded_weights_of_thousands_of_words_are_read_back(tmp_path: Path) -> None:
    weights = np.full((1, 7000), 1 / 7000, dtype=np.float32)  # six digits of each: 0.000143, sum 1.001
    write_alignments(tmp_path / "a.json", [AlignmentMatrix(weights, ["a"] * 7000, ["b"], "words", "dropped")])
    assert read_alignments(tmp_path / "a.json")[0].weights.sum() == pytest.approx(1.001)
