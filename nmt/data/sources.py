"""Parallel text from files, tables, the hub or the built-in grammar."""

import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nmt.alignment.links import missing_words, parse_pharaoh, transposed
from nmt.alignment.words import split_words
from nmt.config import Filter, Source
from nmt.data.builtin import BUILTIN_VERSION
from nmt.data.cache import Table, cached_table
from nmt.data.checksums import digest, file_checksum
from nmt.data.filters import judged, pair_hash, text_hash
from nmt.data.lines import read_lines, without_packing
from nmt.data.parallel import read_files
from nmt.data.remembered import remembered
from nmt.data.tables import read_table, texts_of
from nmt.errors import DataError

Pair = tuple[str, str, str]  # source text, target text, gold word links in Pharaoh notation ("" where there are none)

log = logging.getLogger(__name__)

_FORMAT = 1  # raise it when the columns or their contents change
_FILTERS_FORMAT = 2  # raise it when the filters leave out other pairs
_COMMIT = re.compile(r"[0-9a-f]{40}")


def load_text(
    source: Source,
    split: str,
    cache_dir: Path,
    filters: Sequence[Filter] = (),
    held_out: Mapping[str, Source | None] | None = None,
) -> tuple[Table, str]:
    """Return the sentence pairs of one split as a memory-mapped table, and the fingerprint of the text.

    Args:
        source: where the text comes from, with paths resolved.
        split: ``train``, ``valid`` or ``test``; picks the split of a built-in corpus and names the data in messages.
        cache_dir: the cache folder.
        filters: the names of the filters that leave pairs out.
        held_out: the other splits, whose pairs and sides `overlap` and `shared_sides` leave out.

    Returns:
        The table and its fingerprint. The table has the columns `src`, `tgt` and `links` (strings). With filters, it
        also has `line`, the number of the pair in the entire corpus, from 1. If the source is a list, it also has
        `part`, the number of the pair's source in the list, from 0.

    Raises:
        DataError: if the text cannot be read or no pair is left; the message names file, line and remedy.
    """
    columns = {"src": "string", "tgt": "string", "links": "string"} | ({"part": "int32"} if source.parts else {})
    if filters:
        return _load_filtered(source, split, cache_dir, columns, sorted(set(filters)), held_out or {})
    fingerprint = source_digest(source, split, cache_dir)

    def rows() -> Iterator[dict[str, Any]]:
        for part, each in enumerate(source.each):
            for src, tgt, links in read_pairs(each, split):
                yield {"src": src, "tgt": tgt, "links": links} | ({"part": part} if source.parts else {})
        _refuse_changed(source, split, cache_dir, fingerprint)

    table = cached_table(cache_dir / f"text-{fingerprint}.arrow", columns, rows())
    if len(table) == 0:
        raise DataError(f"the {split} data is empty: {described(source)} holds no sentence pair")
    return table, fingerprint


def _load_filtered(
    source: Source,
    split: str,
    cache_dir: Path,
    columns: dict[str, str],
    filters: list[Filter],
    held_out: Mapping[str, Source | None],
) -> tuple[Table, str]:
    needed = not {"overlap", "shared_sides"}.isdisjoint(filters)
    others = {name: other for name, other in held_out.items() if other is not None and needed}
    unfiltered = source_digest(source, split, cache_dir)
    others_id = {name: source_digest(other, name, cache_dir) for name, other in others.items()}
    fingerprint = digest(_FILTERS_FORMAT, unfiltered, filters, others_id)

    def rows() -> Iterator[dict[str, Any]]:
        left_out: Counter[str] = Counter()
        for line, part, (src, tgt, links), reason in judged_pairs(source, split, filters, held_out_hashes(others)):
            if reason is None:
                row = {"src": src, "tgt": tgt, "links": links, "line": line}
                yield row | ({"part": part} if source.parts else {})
            else:
                left_out[reason] += 1
        _refuse_changed(source, split, cache_dir, unfiltered)
        counts = "; ".join(f"{kind}: {count}" for kind, count in left_out.most_common())
        log.info("data.filters left out %d pairs of the %s data (%s)", left_out.total(), split, counts or "none")

    table = cached_table(cache_dir / f"text-{fingerprint}.arrow", columns | {"line": "int64"}, rows())
    if len(table) == 0:
        raise DataError(f"data.filters leave nothing of the {split} data: {described(source)}; take some filters out")
    return table, fingerprint


def source_digest(source: Source, split: str, cache_dir: Path) -> str:
    """Return a digest of what a source holds, without reading its pairs; see `load_text` for the arguments.

    Raises:
        DataError: if a file cannot be read.
    """
    return digest(_FORMAT, _identity(source, split, cache_dir))


def _refuse_changed(source: Source, split: str, cache_dir: Path, before: str) -> None:
    """Refuse a source whose digest is not the one `before` it was read, since its text would be stored under that.

    Raises:
        DataError: if they differ.
    """
    if source_digest(source, split, cache_dir) != before:
        raise DataError(f"{described(source)} changed while it was read; run the command again when it is complete")


def judged_pairs(
    source: Source, split: str, filters: Sequence[Filter], held_out: frozenset[int]
) -> Iterator[tuple[int, int, Pair, str | None]]:
    """Yield, for each pair, its number (from 1), its part's number (from 0), itself, and why a filter leaves it out.

    Filters judge pairs without their tags, so that tagged copies are found; the pairs that are yielded have them. Usual
    lengths and scripts are those of a pair's own part, which may be in another language than the others.

    Args:
        source: the source of the pairs.
        split: ``train``, ``valid`` or ``test``.
        filters: names of filters.
        held_out: hashes of what `overlap` and `shared_sides` leave out.
    """
    hashes: set[int] = set()
    before = 0  # the number of pairs in the parts before
    for part, each in enumerate(source.each):
        number = 0
        for number, pair, reason in judged(_untagged(each, split), filters, held_out, hashes):
            yield before + number, part, _tagged(each, pair), reason
        before += number


def read_pairs(source: Source, split: str) -> Iterator[Pair]:
    """Yield all pairs of a source, with their tags."""
    for part in source.each:
        yield from (_tagged(part, pair) for pair in _untagged(part, split))


def _tagged(source: Source, pair: Pair) -> Pair:
    """Return a pair with the tag put before its source text, and its links shifted by the number of the tag's words."""
    src, tgt, links = pair
    if source.tag is None or not src.strip():
        return pair
    words = len(split_words(source.tag))
    moved = " ".join(re.sub(r"^\d+", lambda number: str(int(number[0]) + words), link) for link in links.split())
    return f"{source.tag} {src}", tgt, moved


def _untagged(source: Source, split: str) -> Iterator[Pair]:
    """Yield the pairs of a source that is not a list, without the tag."""
    match source:
        case Source(builtin=str()):
            from nmt.data.builtin.phrasebook import phrasebook

            pairs = phrasebook(split)
            yield from pairs if source.src != "fr" else ((tgt, src, transposed(links)) for src, tgt, links in pairs)
        case Source(hub=str()):
            yield from _with_links(source, _read_hub(source, split))
        case Source(path=str(path), src=str(src), tgt=str(tgt)):
            yield from _with_links(source, read_table(Path(path).expanduser(), src, tgt, source.header))
        case Source(src=str(src), tgt=str(tgt)):
            yield from _with_links(source, read_files(Path(src).expanduser(), Path(tgt).expanduser()))
        case _:
            raise DataError(f"{source!r} names no sentence pairs")


def read_texts(source: Source, split: str) -> Iterator[tuple[str, str]]:
    """Yield the source text (without the tag of `Source.tag`) and the target text of every sentence pair.

    Args:
        source: where the pairs are.
        split: ``train``, ``valid`` or ``test``.
    """
    return itertools.chain.from_iterable(texts_of_parts(source, split))


def texts_of_parts(source: Source, split: str) -> Iterator[Iterator[tuple[str, str]]]:
    """Yield what `read_texts` yields, apart for each source of a list."""
    return (((src, tgt) for src, tgt, _ in _untagged(part, split)) for part in source.each)


def held_out_hashes(splits: Mapping[Any, Source | None]) -> frozenset[int]:
    """Return the hashes of the pairs of several splits and of their sides, for `overlap` and `shared_sides`.

    Args:
        splits: name of a split → its source, or None if the split is missing.
    """
    found: set[int] = set()
    for name, source in splits.items():
        for src, tgt in read_texts(source, name) if source is not None else ():
            found.add(pair_hash(src, tgt))
            found.update(text_hash(text) for text in (src, tgt) if text.strip())
    return frozenset(found)


def _with_links(source: Source, pairs: Iterator[tuple[str, str]]) -> Iterator[Pair]:
    """Yield the pairs with the links of the source's file, or with empty links if it has no such file.

    Raises:
        DataError: if the numbers of pairs and of lines of links differ, or a link names a word that does not exist.
    """
    if source.links is None:
        yield from ((src, tgt, "") for src, tgt in pairs)
        return
    path = Path(source.links).expanduser()
    lines = read_lines(path)
    number = 0
    for number, (pair, line) in enumerate(itertools.zip_longest(pairs, lines), start=1):
        if pair is None or line is None:
            raise DataError(
                f"{path} has {'more' if pair is None else 'fewer'} lines than there are sentence pairs "
                f"({'pairs' if pair is None else 'links'} end after {number - 1}); write one line of links for each "
                f"pair, empty where there are none"
            )
        where = f"{path}, line {number}"
        own = transposed(line) if source.turns_links else line
        if line and (wrong := missing_words(parse_pharaoh(own, where=where), pair)):
            raise DataError(f"{where}: {wrong}")
        yield (*pair, own)


def _read_hub(source: Source, split: str) -> Iterator[tuple[str, str]]:
    import datasets

    wanted = _hub_split(source, split)
    try:
        table = datasets.load_dataset(str(source.hub), source.config, split=wanted, revision=source.revision)
        rows = enumerate(table, start=1)
        while (numbered := next(rows, None)) is not None:
            yield texts_of(numbered[1], str(source.src), str(source.tgt), f"{source.hub}, row {numbered[0]}")
    except DataError:
        raise
    except Exception as error:  # the library raises many kinds: network, missing, malformed
        raise _hub_error(source, wanted, error) from None


def _hub_split(source: Source, split: str) -> str:
    return source.split or {"valid": "validation"}.get(split, split)


def _hub_error(source: Source, split: str, error: Exception) -> DataError:
    revision = source.revision
    where = f"config {source.config}, split {split}" + (f", revision {revision}" if revision else "")
    return DataError(f"the dataset {source.hub} ({where}) cannot be loaded: {error}")


def _identity(source: Source, split: str, cache: Path) -> dict[str, Any]:
    """Return everything that determines the text of a source: digests of its files, or a hub dataset's fingerprint."""
    if source.parts:
        return {"parts": [_identity(part, split, cache) for part in source.parts]}
    tag = {} if source.tag is None else {"tag": source.tag}
    return tag | _untagged_identity(source, split, cache)


def _untagged_identity(source: Source, split: str, cache: Path) -> dict[str, Any]:
    identity: dict[str, Any] = source.model_dump(exclude={"path", "revision", "links", "tag", "weight", "parts"})
    if source.header:
        del identity["header"]  # so that fingerprints stay as they were before this setting existed
    if source.links is not None:
        identity |= {"links": file_digest(Path(source.links), cache), "turned": source.turns_links}
    match source:
        case Source(builtin=str()):
            return identity | {"split": split, "version": BUILTIN_VERSION}
        case Source(hub=str(name)):
            return identity | {"split": source.split or split} | _hub_identity(source, Path(name), split, cache)
        case Source(path=str(path)):
            kind = without_packing(path).rpartition(".")[2]
            return identity | {"kind": kind, "file": file_digest(Path(path), cache)}
        case _:
            with ThreadPoolExecutor(2) as pool:  # hashing lets other threads run
                src, tgt = pool.map(file_digest, (Path(str(source.src)), Path(str(source.tgt))), (cache, cache))
            both = {"src": src, "tgt": tgt}
            return both | {key: identity[key] for key in ("links", "turned") if key in identity}


def _hub_identity(source: Source, folder: Path, split: str, cache: Path) -> dict[str, Any]:
    """Return values that change when a dataset changes: digests of a local folder's files, or the hub's fingerprint.

    If the revision is a full commit hash, the hub is not contacted.
    """
    if folder.is_dir():
        return {"files": [file_digest(path, cache) for path in sorted(folder.rglob("*")) if path.is_file()]}
    revision = source.revision
    if revision is not None and _COMMIT.fullmatch(revision):
        return {"files": [], "revision": revision}
    import datasets

    try:
        builder = datasets.load_dataset_builder(str(source.hub), source.config, revision=revision)
    except Exception as error:  # the library raises many kinds: network, missing, malformed
        raise _hub_error(source, _hub_split(source, split), error) from None
    return {"files": [], "fingerprint": [str(builder.hash), str(builder.info.version)]}


def file_digest(path: Path, cache: Path) -> str:
    """Return a digest of a file's content, with its suffix.

    Args:
        path: the file.
        cache: the cache folder, which stores the digests of large files.

    Raises:
        DataError: if the file cannot be read.
    """
    path = path.expanduser()
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path} is not a regular file, and data is read several times; write it to a file first")
        return remembered(path, cache, "SHA-256", lambda: file_checksum(path)) + path.suffix
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check the path, or set data.root") from None


def described(source: Source) -> str:
    """Return what a source consists of: its files, tables or datasets."""
    if source.parts:
        return " + ".join(map(described, source.parts))
    if source.builtin is not None:
        return f"builtin:{source.builtin}"
    return source.hub or source.path or f"{source.src} | {source.tgt}"
