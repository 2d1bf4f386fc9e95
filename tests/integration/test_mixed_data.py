"""Training data of several parts: weights, tags, links and filters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from nmt.config import Config
from nmt.config.data import Source
from nmt.config.load import differing_keys
from nmt.data.batching import plan_batches
from nmt.data.examine import examine
from nmt.data.prepare import load_corpora, pair_weights
from nmt.data.sources import load_text, read_pairs, texts_of_parts
from nmt.errors import DataError
from nmt.training.estimate import estimate_sizes

PARTS = {"a": 20, "b": 6, "c": 3}


@pytest.fixture
def parts(tmp_path: Path) -> list[dict[str, Any]]:
    """Three pairs of files; the source of pair n of part a is `a the cat n`."""
    for name, count in PARTS.items():
        for side in ("en", "fr"):
            text = "".join(f"{name} the cat {n}\n" for n in range(count))
            (tmp_path / f"{name}.{side}").write_text(text, encoding="utf-8")
    (tmp_path / "b.links").write_text("0-0 1-1 2p2\n" * 6, encoding="utf-8")
    return [{"src": f"{name}.en", "tgt": f"{name}.fr"} for name in PARTS]


def source_of(folder: Path, *parts: dict[str, Any]) -> Source:
    return Source.model_validate({"parts": list(parts)}).under(str(folder))


def test_parts_follow_each_other_with_their_tags_and_links(parts: list[dict[str, Any]], tmp_path: Path) -> None:
    a, b, c = parts
    source = source_of(tmp_path, a, b | {"tag": "<bt>", "links": "b.links"}, c)
    pairs = list(read_pairs(source, "train"))
    assert len(pairs) == 29
    assert pairs[0] == ("a the cat 0", "a the cat 0", "")
    # The tag is three words, <, bt and >, that come before the others.
    assert pairs[20] == ("<bt> b the cat 0", "b the cat 0", "3-0 4-1 5p2")
    assert pairs[26][0] == "c the cat 0"
    turned = list(read_pairs(source.reversed(), "train"))
    assert turned[20] == ("<bt> b the cat 0", "b the cat 0", "3-0 4-1 5p2")
    table, fingerprint = load_text(source, "train", tmp_path / "cache")
    assert [part for (part,) in table.rows("part")] == [0] * 20 + [1] * 6 + [2] * 3
    assert load_text(source_of(tmp_path, a, b, c), "train", tmp_path / "cache")[1] != fingerprint
    heavier = source_of(tmp_path, a, b | {"tag": "<bt>", "links": "b.links"}, c | {"weight": 2.0})
    assert load_text(heavier, "train", tmp_path / "cache")[1] == fingerprint  # the text is the same


def test_each_part_has_its_own_usual_script(tmp_path: Path) -> None:
    for name, tgt in (("ru", "кошка"), ("de", "Katze")):
        (tmp_path / f"{name}.en").write_text("".join(f"the cat {name} {n}\n" for n in range(4)), encoding="utf-8")
        (tmp_path / f"{name}.tgt").write_text("".join(f"{tgt} {n}\n" for n in range(3)) + "γάτα\n", encoding="utf-8")
    source = source_of(tmp_path, *({"src": f"{name}.en", "tgt": f"{name}.tgt"} for name in ("ru", "de")))
    table, _ = load_text(source, "train", tmp_path / "cache", ["script"])
    assert list(table.rows("part", "line")) == [(0, 1), (0, 2), (0, 3), (1, 5), (1, 6), (1, 7)]
    found = examine(*texts_of_parts(source, "train"))
    assert {kind: finding.lines for kind, finding in found.findings.items()} == {
        "a side in a different script from most of its lines": [4, 8]
    }


def test_filters_know_the_parts_and_see_no_tags(parts: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "valid").write_text("b the cat 2\n", encoding="utf-8")
    valid = Source(src=str(tmp_path / "valid"), tgt=str(tmp_path / "valid"))
    source = source_of(tmp_path, parts[0], parts[1] | {"tag": "<bt>"}, parts[2])
    table, _ = load_text(source, "train", tmp_path / "cache", ["overlap"], {"valid": valid})
    rows = list(table.rows("src", "part", "line"))
    assert len(rows) == 28
    assert not any(src.endswith("b the cat 2") for src, _, _ in rows)
    assert [part for _, part, _ in rows] == [0] * 20 + [1] * 5 + [2] * 3
    assert rows[-1] == ("c the cat 2", 2, 29)


def test_other_translations_of_held_out_sentences_are_left_out_in_both_directions(tmp_path: Path) -> None:
    files = {
        "en": "a cat\nred\nblue\n",
        "fr": "un chat\nrouge\nbleu\n",
        "made.fr": "le chat\nrouge\nazur\n",
        "valid.en": "a cat\n",
        "valid.fr": "un chat\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    source = source_of(
        tmp_path, {"src": "en", "tgt": "fr"}, {"src": "en", "tgt": "made.fr"}, {"src": "fr", "tgt": "en"}
    )
    valid = Source(src=str(tmp_path / "valid.en"), tgt=str(tmp_path / "valid.fr"))
    table, _ = load_text(source, "train", tmp_path / "cache", ["shared_sides"], {"valid": valid})
    assert list(table.rows("src", "tgt", "part")) == [
        ("red", "rouge", 0),
        ("blue", "bleu", 0),
        ("red", "rouge", 1),
        ("blue", "azur", 1),
        ("rouge", "red", 2),
        ("bleu", "blue", 2),
    ]


def test_weights_say_how_often_a_pair_comes(parts: list[dict[str, Any]], tmp_path: Path) -> None:
    a, b, c = parts
    source = source_of(tmp_path, a | {"weight": 0.25}, b, c | {"weight": 2.5})
    table, _ = load_text(source, "train", tmp_path / "cache")
    weights = pair_weights(source, table, 1.0, np.arange(29))
    assert weights is not None
    lengths = np.full(29, 5)
    epochs = [np.concatenate(plan_batches(lengths, lengths, 8, "sentences", 1, epoch, weights)) for epoch in range(40)]
    for order in epochs:
        counts = np.bincount(order, minlength=29)
        assert (counts[:20].sum(), counts[20:26].tolist(), counts[26:].sum()) == (5, [1] * 6, 8)
        assert counts[26:].min() == 2
    assert (np.bincount(np.concatenate(epochs), minlength=29)[:20] > 0).all()  # others in every epoch
    np.testing.assert_array_equal(
        epochs[3], np.concatenate(plan_batches(lengths, lengths, 8, "sentences", 1, 3, weights))
    )
    assert pair_weights(source_of(tmp_path, a, b, c), table, 1.0, np.arange(29)) is None


def test_temperature_gives_small_parts_a_larger_share(parts: list[dict[str, Any]], tmp_path: Path) -> None:
    source = source_of(tmp_path, *parts)
    table, _ = load_text(source, "train", tmp_path / "cache")
    weights = pair_weights(source, table, 2.0, np.arange(29))
    assert weights is not None
    assert weights.sum() == pytest.approx(29)
    shares = np.array([weights[:20].sum(), weights[20:26].sum(), weights[26:].sum()]) / 29
    roots = np.sqrt([20, 6, 3])
    np.testing.assert_allclose(shares, roots / roots.sum())
    used = np.array([0, 1, 2, 3, *range(20, 26)])  # most pairs of the first part are too long, and the third is empty
    weights = pair_weights(source, table, 2.0, used)
    assert weights is not None
    assert weights.sum() == pytest.approx(10)
    assert weights[:4].sum() / 10 == pytest.approx(2 / (2 + np.sqrt(6)))


def test_a_tag_is_one_piece_and_weights_are_those_of_the_parts(
    make_config: Callable[..., Config], parts: list[dict[str, Any]], tmp_path: Path
) -> None:
    a, b, c = parts
    config = make_config(
        data={
            "root": str(tmp_path),
            "train": [a, b | {"tag": "<bt>"}, c | {"weight": 3}],
            "valid": c | {"tag": "<2fr>"},
            "test": None,
        },
        tokenizer={"vocab_size": 60},
    )
    corpora = load_corpora(config)
    tags = {"<bt>", "<2fr>"}
    pieces = corpora.tokenizer.encode_src("<bt> b the cat").pieces
    assert "<bt>" in pieces
    assert tags <= {corpora.tokenizer.decode_src([piece]).pieces[0] for piece in range(corpora.tokenizer.src_size)}
    assert corpora.valid_text.column("src")[0].as_py() == "<2fr> c the cat 0"
    assert corpora.train.weights is not None
    assert corpora.train.weights.sum() == 20 + 6 + 9


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train": {"src": "a", "tgt": "b", "weight": 2.0}}, "weight needs a list of parts"),
        (
            {"valid": [{"src": "a", "tgt": "b", "weight": 2.0}, {"src": "c", "tgt": "d"}]},
            "weight can only be set for training data",
        ),
        ({"temperature": 2.0}, "temperature sets the weights of the parts of train"),
        (
            {"train": {"parts": [{"src": "a", "tgt": "b"}], "tag": "<x>", "src": None, "tgt": None}},
            "a list of parts has no tag of its own",
        ),
        ({"train": [[{"src": "a", "tgt": "b"}]]}, "a part cannot have parts"),
        (
            {"train": [{"src": "a", "tgt": "b", "tag": "two words"}]},
            "a tag must have at least one character and no spaces",
        ),
        ({"train": [{"src": "a", "tgt": "a"}]}, "src and tgt are both the file a"),
        ({"train": []}, "the list is empty"),
    ],
)
def test_what_means_nothing_is_refused(make_config: Callable[..., Config], data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make_config(data=data)


def test_a_changed_weight_and_weights_that_leave_nothing_are_named(
    make_config: Callable[..., Config], parts: list[dict[str, Any]], tmp_path: Path
) -> None:
    a, b, _ = parts
    data = {"root": str(tmp_path), "train": [a, b], "valid": b, "test": None}
    one, two = (make_config(data=data | {"train": [a, b | {"weight": weight}]}) for weight in (1.0, 4.0))
    assert differing_keys(one, two) == ["data.train.parts.1.weight: 1.0 -> 4.0"]
    few = make_config(
        data=data | {"train": [part | {"weight": 0.001} for part in (a, b)]}, tokenizer={"vocab_size": 60}
    )
    with pytest.raises(DataError, match=r"the weights of data\.train leave none"):
        estimate_sizes(few, load_corpora(few))
