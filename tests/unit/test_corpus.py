import csv
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from nmt.alignment.links import parse_pharaoh
from nmt.config import Filter, Source
from nmt.config.data import DataConfig
from nmt.data import sources
from nmt.data.cache import cached_table
from nmt.data.lines import read_lines
from nmt.data.parallel import read_files
from nmt.data.sources import load_text, read_pairs
from nmt.data.text_export import export_text
from nmt.errors import DataError, NmtError

PAIRS = [("a cat", "un chat"), ('say "yes"', "dis « oui »"), ("NA", "null"), ("odd\u2028line\x85end", "reste entier")]


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def texts(source: Source) -> list[tuple[str, str]]:
    return [(src, tgt) for src, tgt, _ in read_pairs(source, "train")]


def two_files(folder: Path, src: bytes, tgt: bytes) -> Source:
    return Source(src=str(write(folder / "x.src", src)), tgt=str(write(folder / "x.tgt", tgt)))


def test_every_format_gives_the_same_pairs(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    src, tgt = ("".join(pair[side] + "\n" for pair in PAIRS).encode() for side in (0, 1))
    plain = two_files(tmp_path, src, tgt)
    zipped = Source(src=str(tmp_path / "s.gz"), tgt=plain.tgt)
    (tmp_path / "s.gz").write_bytes(gzip.compress(src))
    write(tmp_path / "p.tsv", "en\tn\tfr\n" + "".join(f"{s}\t1\t{t}\n" for s, t in PAIRS))
    with (tmp_path / "p.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("fr", "en"), *((t, s) for s, t in PAIRS)])
    write(tmp_path / "p.jsonl", "".join(json.dumps({"en": s, "fr": t}) + "\n" for s, t in PAIRS))
    parquet.write_table(
        pyarrow.table({"en": [s for s, _ in PAIRS], "fr": [t for _, t in PAIRS]}), tmp_path / "p.parquet"
    )
    tables = [
        Source(path=str(tmp_path / f"p.{kind}"), src="en", tgt="fr") for kind in ("tsv", "csv", "jsonl", "parquet")
    ]
    for source in [plain, zipped, *tables]:
        assert texts(source) == PAIRS, source


def test_hub_layouts_flat_and_nested(tmp_path: Path) -> None:
    flat, nested = tmp_path / "flat", tmp_path / "nested"
    flat.mkdir(), nested.mkdir()
    write(flat / "train.jsonl", "".join(json.dumps({"en": s, "fr": t}) + "\n" for s, t in PAIRS))
    write(
        nested / "validation.jsonl", "".join(json.dumps({"translation": {"en": s, "fr": t}}) + "\n" for s, t in PAIRS)
    )
    assert texts(Source(hub=str(flat), split="train", src="en", tgt="fr")) == PAIRS
    rows = read_pairs(Source(hub=str(nested), src="en", tgt="fr"), "valid")
    assert [(src, tgt) for src, tgt, _ in rows] == PAIRS
    with pytest.raises(DataError, match="no column 'de'; the columns are en, fr"):
        texts(Source(hub=str(flat), split="train", src="de", tgt="fr"))
    with pytest.raises(DataError, match="cannot be loaded"):
        texts(Source(hub=str(flat), split="nosplit", src="en", tgt="fr"))


def test_a_revision_of_a_hub_dataset_is_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[object] = []

    def load(name: str, config: str | None, *, split: str, revision: str | None) -> list[dict[str, str]]:
        asked.append((name, config, split, revision))
        return [{"en": src, "fr": tgt} for src, tgt in PAIRS]

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = Source(hub="some/corpus", revision="a" * 40, src="en", tgt="fr")
    first, fingerprint = load_text(source, "train", tmp_path)
    assert asked == [("some/corpus", None, "train", "a" * 40)]
    assert len(first) == len(PAIRS)
    _, same = load_text(source, "train", tmp_path)
    _, other = load_text(source.model_copy(update={"revision": "b" * 40}), "train", tmp_path)
    assert fingerprint == same != other
    assert len(asked) == 2
    with pytest.raises(ValidationError, match="revision belongs to a hub dataset"):
        Source(src="a", tgt="b", revision="main")


def test_unequal_files_name_both_counts_and_the_slip(tmp_path: Path) -> None:
    lengths = [3, 9, 2, 12, 5, 20, 4, 15, 6, 25] * 10
    src = [f"line {i} " + "x" * 5 * n for i, n in enumerate(lengths)]
    tgt = list(src)
    del tgt[40]
    source = two_files(tmp_path, "\n".join(src).encode() + b"\n", "\n".join(tgt).encode() + b"\n")
    with pytest.raises(DataError) as caught:
        texts(source)
    message = str(caught.value)
    assert "100 lines" in message
    assert "has 99" in message
    position = int(message.split("near line ")[1].split(";")[0])
    assert 38 <= position <= 44


def test_an_undecodable_byte_names_file_and_line(tmp_path: Path) -> None:
    source = two_files(tmp_path, b"one\ntwo\n", b"un\nd\xe9ux\n")
    with pytest.raises(DataError, match=r"x\.tgt, line 2: byte 0xe9 at column 2 is not UTF-8"):
        texts(source)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.tsv", "en\tfr\na\tb\tc\n", r"t\.tsv, line 2: 3 columns, but the first line has 2"),
        ("t.tsv", "en\tde\na\tb\n", "no column 'fr'; the first line names en, de"),
        ("t.tsv", "", "the file is empty"),
        ("t.csv", 'en,fr\na,"b\nc,d\n', r"t\.csv, line 3: not valid CSV"),
        ("t.jsonl", '{"en": "a", "fr": "b"}\n{"en": \n', r"t\.jsonl, line 2: not valid JSON"),
        ("t.jsonl", '{"en": "a", "fr": 3}\n', r"line 1: column 'fr' holds 3, which is not a text"),
        ("t.jsonl", "[]\n", "a JSON object"),
        ("t.xlsx", "", "unknown table format"),
        ("t.parquet", "no", "cannot be read as Parquet"),
    ],
)
def test_broken_tables_name_the_place(tmp_path: Path, name: str, content: str, message: str) -> None:
    write(tmp_path / name, content)
    with pytest.raises(DataError, match=message):
        texts(Source(path=str(tmp_path / name), src="en", tgt="fr"))


def test_lines_split_at_newline_only_and_lose_bom_and_carriage_return(tmp_path: Path) -> None:
    path = write(tmp_path / "x", b"\xef\xbb\xbfone\r\nt\x0bw\x0co\xe2\x80\xa8still\n\nlast")
    assert list(read_lines(path)) == ["one", "t\x0bw\x0co\u2028still", "", "last"]


def test_missing_and_truncated_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(read_lines(tmp_path / "nothing"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_lines(tmp_path))
    packed = gzip.compress(b"line\n" * 1000)
    with pytest.raises(DataError, match="cannot be read"):
        list(read_lines(write(tmp_path / "bad.gz", packed[:12] + b"\xff" * 20 + packed[32:])))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_lines(write(tmp_path / "cut.gz", packed[: len(packed) // 2])))


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the train data is empty"):
        load_text(two_files(tmp_path, b"", b""), "train", tmp_path / "cache")


def test_the_cache_is_keyed_by_content(tmp_path: Path) -> None:
    table, first = load_text(two_files(tmp_path, b"a\n", b"b\n"), "train", tmp_path / "cache")
    assert list(table.rows("src", "tgt", "links")) == [("a", "b", "")]
    _, same = load_text(two_files(tmp_path, b"a\n", b"b\n"), "valid", tmp_path / "cache")
    table, other = load_text(two_files(tmp_path, b"a\n", b"c\n"), "train", tmp_path / "cache")
    assert first == same != other
    assert table["tgt"][0] == "c"


@pytest.mark.parametrize("filters", [[], ["markup"]])
def test_a_file_that_changes_while_it_is_read_is_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: list[Filter]
) -> None:
    source, cache = two_files(tmp_path, b"a\n", b"b\n"), tmp_path / "cache"

    def rows_of_a_growing_file(*paths: Path) -> Iterator[tuple[str, str]]:
        yield from read_files(*paths)
        two_files(tmp_path, b"a\nc\n", b"b\nd\n")

    with monkeypatch.context() as patch:
        patch.setattr(sources, "read_files", rows_of_a_growing_file)
        with pytest.raises(DataError, match="changed while it was read"):
            load_text(source, "train", cache, filters)
    assert not list(cache.glob("text-*"))
    assert load_text(source, "train", cache, filters)[0]["src"] == ["a", "c"]


def test_a_pipe_is_not_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    source = Source(src=str(tmp_path / "pipe"), tgt=str(write(tmp_path / "tgt", "b\n")))
    with pytest.raises(DataError, match=r"pipe is not a regular file.*write it to a file first"):
        load_text(source, "train", tmp_path / "cache")


def test_a_failed_write_leaves_no_table(tmp_path: Path) -> None:
    def rows() -> object:
        yield {"x": "a"}
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        cached_table(tmp_path / "t.arrow", {"x": "string"}, rows())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_export_writes_text_and_gold_links(tmp_path: Path) -> None:
    paths = export_text(Source(builtin="phrasebook"), "test", tmp_path, "en", "fr")
    lines = [list(read_lines(path)) for path in paths]
    assert [path.name for path in paths] == ["test.en", "test.fr", "test.links"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/test.fr").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match=r"test\.fr already exists; choose another folder"):
        export_text(Source(builtin="phrasebook"), "test", tmp_path / "mine", "en", "fr")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["test.fr"]
    assert {len(column) for column in lines} == {1000}
    assert [column[0] for column in lines] == ["I love you", "je t'aime", "0-0 2-1 1-2"]


def test_a_reversed_corpus_exchanges_the_sides_and_the_links(tmp_path: Path) -> None:
    data = DataConfig(train="builtin:phrasebook", valid="builtin:phrasebook", test=None)
    backward = data.model_copy(update={"reverse": True})
    for forward_pair, backward_pair in zip(
        read_pairs(data.source("valid"), "valid"), read_pairs(backward.source("valid"), "valid"), strict=True
    ):
        assert backward_pair[:2] == forward_pair[1::-1]
        forward_links, backward_links = parse_pharaoh(forward_pair[2]), parse_pharaoh(backward_pair[2])
        assert backward_links.sure == {(tgt, src) for src, tgt in forward_links.sure}
        assert backward_links.possible == {(tgt, src) for src, tgt in forward_links.possible}
    files = DataConfig(train={"src": "a.en", "tgt": "a.de"}, valid="builtin:phrasebook", root="corpus", reverse=True)
    assert files.source("train") == Source(src="corpus/a.de", tgt="corpus/a.en")


def test_half_a_character_in_a_json_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl", '{"en": "a", "fr": "b"}\n{"en": "\\ud83d", "fr": "b"}\n')
    with pytest.raises(DataError, match=r"t\.jsonl, line 2"):
        load_text(Source(path=str(tmp_path / "t.jsonl"), src="en", tgt="fr"), "train", tmp_path / "cache")


def test_a_home_folder_is_found_under_a_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert Source(src="~/b.en", tgt="c.de").under("~/data") == Source(src="/home/me/b.en", tgt="/home/me/data/c.de")


def test_a_file_of_links_belongs_to_its_pairs(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a cat\nI\nwe\n")
    (tmp_path / "b").write_text("un chat\nje\nnous\n")
    (tmp_path / "l").write_text("0-0 1p1\n\n0-0\n")
    config = DataConfig.model_validate(
        {
            "root": str(tmp_path),
            "train": {"src": "a", "tgt": "b", "links": "l"},
            "valid": {"src": "a", "tgt": "b"},
        }
    )
    source = config.source("train")
    assert source is not None
    assert [row[2] for row in read_pairs(source, "train")] == ["0-0 1p1", "", "0-0"]
    turned = config.model_copy(update={"reverse": True}).source("train")
    assert turned is not None
    assert next(iter(read_pairs(turned, "train"))) == ("un chat", "a cat", "0-0 1p1")
    (tmp_path / "l").write_text("1-0\n\n0-0\n")
    assert next(iter(read_pairs(turned, "train")))[2] == "0-1"
    assert load_text(source, "train", tmp_path / "c")[1] != load_text(turned, "train", tmp_path / "c")[1]
    for lines, message in (
        ("0-0\n", "fewer lines"),
        ("\n" * 4, "more lines"),
        ("x\n\n\n", "line 1: 'x' is not a link"),
        ("0-0\n\n0-1\n", "line 3: link 0-1, but the pair has 1 source and 1 target words, counted from 0"),
    ):
        (tmp_path / "l").write_text(lines)
        with pytest.raises(NmtError, match=message):
            list(read_pairs(source, "train"))


def test_a_table_without_a_header_has_numbered_columns(tmp_path: Path) -> None:
    rows = [("7", "a cat", "un chat"), ("8", 'a "dog"', "un chien")]
    write(tmp_path / "t.tsv", "".join("\t".join(row) + "\n" for row in rows))
    write(tmp_path / "t.csv", '7,a cat,un chat\n8,"a ""dog""",un chien\n')
    for name in ("t.tsv", "t.csv"):
        source = Source.model_validate({"path": str(tmp_path / name), "header": False, "src": 2, "tgt": 3})
        assert [pair[:2] for pair in read_pairs(source, "train")] == [row[1:] for row in rows]
    with pytest.raises(DataError, match=r"t\.tsv: there is no column 4; the first line has only 3"):
        list(read_pairs(Source(path=str(tmp_path / "t.tsv"), header=False, src="1", tgt="4"), "train"))
    write(tmp_path / "t.jsonl", "{}\n")
    with pytest.raises(DataError, match=r"a \.jsonl file names its columns itself"):
        list(read_pairs(Source(path=str(tmp_path / "t.jsonl"), header=False, src="1", tgt="2"), "train"))
    for wrong in ({"src": "en", "tgt": "2", "path": "t.tsv"}, {"src": "1", "tgt": "0", "path": "t.tsv"}):
        with pytest.raises(ValidationError, match="numbers of columns, from 1"):
            Source.model_validate(wrong | {"header": False})
    with pytest.raises(ValidationError, match="header is only for tables"):
        Source.model_validate({"src": "a", "tgt": "b", "header": False})
