"""Unknown pieces copy what they look at."""

import numpy as np

from nmt.data.tokenizer import UNK, Encoded
from nmt.decoding.unknown import replace_unknown


def looking(*columns: int, width: int = 4) -> np.ndarray:
    return np.eye(width, dtype=np.float32)[list(columns)]


SRC = Encoded("I see Zoë.", [10, 11, UNK, 12], ["▁I", "▁see", "▁Zoë", "."], [(0, 1), (1, 5), (5, 9), (9, 10)])


def test_an_unknown_word_is_copied_and_the_rest_moves_along() -> None:
    tgt = Encoded("je vois ⁇ .", [20, 21, UNK, 22], ["▁je", "▁vois", "<unk>", "."], [(0, 2), (2, 7), (7, 10), (10, 11)])
    replaced = replace_unknown(tgt, SRC, looking(0, 1, 2, 3, 3))
    assert replaced.text == "je vois Zoë."
    assert [replaced.text[start:end] for start, end in replaced.offsets] == ["je", " vois", " Zoë", "."]
    assert (replaced.ids, replaced.pieces) == (tgt.ids, tgt.pieces)


def test_unknown_pieces_that_look_at_one_known_word_copy_it_once() -> None:
    tgt = Encoded("je ⁇  ⁇ .", [20, UNK, UNK, 22], ["▁je", "<unk>", "<unk>", "."], [(0, 2), (2, 5), (5, 8), (8, 9)])
    replaced = replace_unknown(tgt, SRC, looking(0, 1, 1, 3, 3))
    assert replaced.text == "je see."
    assert replaced.offsets == [(0, 2), (2, 6), (6, 6), (6, 7)]
    twice = replace_unknown(tgt, SRC, looking(0, 2, 2, 3, 3))  # each stands for unknown characters of its own
    assert twice.text == "je Zoë Zoë."


def test_the_same_word_in_two_places_is_copied_twice() -> None:
    src = Encoded("no no", [10, 10], ["▁no", "▁no"], [(0, 2), (2, 5)])
    tgt = Encoded(" ⁇  ⁇ ", [UNK, UNK], ["<unk>", "<unk>"], [(0, 3), (3, 6)])
    assert replace_unknown(tgt, src, looking(0, 1, 1, width=2)).text == "no no"
    assert replace_unknown(tgt, src, looking(1, 1, 1, width=2)).text == "no"


def test_without_unknown_pieces_or_attention_nothing_changes() -> None:
    tgt = Encoded("je", [20], ["▁je"], [(0, 2)])
    assert replace_unknown(tgt, SRC, looking(0)) is tgt
    unknown = Encoded(" ⁇ ", [UNK], ["<unk>"], [(0, 3)])
    assert replace_unknown(unknown, SRC, np.zeros((2, 0), dtype=np.float32)) is unknown


def test_a_piece_of_a_known_word_stands_for_the_whole_word_and_an_unknown_one_for_itself() -> None:
    src = Encoded(
        "greyhounds Zoë", [10, 11, 12, UNK], ["▁grey", "hound", "s", "▁Zoë"], [(0, 4), (4, 9), (9, 10), (10, 14)]
    )
    tgt = Encoded("⁇ ⁇", [UNK, UNK], ["<unk>", "<unk>"], [(0, 1), (1, 3)])
    replaced = replace_unknown(tgt, src, looking(1, 3, 3))
    assert replaced.text == "greyhounds Zoë"
    assert replaced.offsets == [(0, 10), (10, 14)]
    split = Encoded("aбc", [10, UNK, 11], ["▁a", "б", "c"], [(0, 1), (1, 2), (2, 3)])
    assert replace_unknown(Encoded("⁇", [UNK], ["<unk>"], [(0, 1)]), split, looking(1, 1, width=3)).text == "б"
