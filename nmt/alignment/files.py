"""Alignment matrices as files: json, npz, pharaoh, tsv or a picture, chosen by the file's suffix."""

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from nmt.alignment.links import Link, format_pharaoh
from nmt.alignment.matrix import AlignmentMatrix, Level
from nmt.atomic import atomic_write
from nmt.errors import AlignmentError

MAX_PICTURES = 50


def check_suffix(path: Path, more: Sequence[str] = (), only: bool = False) -> None:
    """Refuse a path that `write_alignments` could not write, before any work is done.

    Args:
        path: the file.
        more: suffixes to allow in addition to those of `write_alignments`.
        only: whether to allow no suffixes but those in `more`.

    Raises:
        AlignmentError: for an unknown suffix, naming the known ones, or a missing folder.
    """
    known = [*([] if only else _WRITERS), *more]
    if path.suffix.lower() not in known:
        raise AlignmentError(f"{path}: alignments are written as {', '.join(known)}; choose one of these suffixes")
    if not path.parent.is_dir():
        raise AlignmentError(f"{path}: there is no folder {path.parent} to write it in")


def write_alignments(
    path: str | Path, matrices: Iterable[AlignmentMatrix], links: Sequence[Sequence[Link]] | None = None
) -> None:
    """Write one matrix per line of input; see `AlignmentWriter` for the formats.

    Args:
        path: the file.
        matrices: one for each line.
        links: written to a ``.pharaoh`` file instead of the links of the matrices.

    Raises:
        AlignmentError: for an unknown suffix.
    """
    with alignment_writer(path) as writer:
        for number, matrix in enumerate(matrices):
            writer.add(matrix, matrix.links() if links is None else links[number])


@contextmanager
def alignment_writer(path: str | Path) -> Iterator["AlignmentWriter"]:
    """Open a file to which matrices are written one by one.

    The file appears at `path` only if the ``with`` block ends without an exception.

    - ``.json``: ``{"level", "eos", "read_from", "sentences": [{"src", "tgt", "weights"}]}``. `src` and `tgt` are lists
      of tokens, and `weights` is ``[target tokens][source tokens]``. If a word aligner made the matrices, each
      sentence also has `null`. `read_from` says whether the weights come from the attention or the aligner.
    - ``.npz``: arrays ``weights_<i>``, ``src_<i>``, ``tgt_<i>`` (and ``null_<i>``) from 0, and `level`, `eos` and
      `read_from`; no pickle.
    - ``.pharaoh``: one line of ``source-target`` links per sentence, words counted from 0.
    - ``.tsv``: a table with a row for each link: line (from 1), source word, target word, weight. For a word aligner,
      the weight is the probability of the link.
    - ``.png``, ``.pdf``, ``.svg``: heat maps of the first 50 matrices.

    Only matrices that will be drawn are held in memory.

    Raises:
        AlignmentError: if the suffix is another one, the folder is missing, or all sentences of a picture are empty.
    """
    path = Path(path)
    check_suffix(path)
    with atomic_write(path) as tmp_path:
        writer = _WRITERS[path.suffix.lower()](tmp_path)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()


class AlignmentWriter:
    """A file of matrices that is written one matrix at a time."""

    def __init__(self, path: Path):
        """Open the file."""
        self.count = 0

    def add(self, matrix: AlignmentMatrix, links: Sequence[Link]) -> None:
        """Write one more matrix, or its links."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what comes after the last matrix."""

    def close(self) -> None:
        """Close the file, whether or not all matrices were written."""


class _JsonWriter(AlignmentWriter):
    def __init__(self, path: Path):
        super().__init__(path)
        self._file = path.open("w", encoding="utf-8")

    def add(self, matrix: AlignmentMatrix, links: Sequence[Link]) -> None:
        self._file.write(_opening(matrix) if self.count == 0 else ", ")
        self._file.write(json.dumps(matrix_fields(matrix), ensure_ascii=False))
        self.count += 1

    def finish(self) -> None:
        self._file.write(("" if self.count else _opening(None)) + "]}\n")

    def close(self) -> None:
        self._file.close()


def _opening(matrix: AlignmentMatrix | None) -> str:
    return json.dumps(_policy(matrix), ensure_ascii=False)[:-1] + ', "sentences": ['


class _NpzWriter(AlignmentWriter):
    def __init__(self, path: Path):
        super().__init__(path)
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self._policy = _policy(None)

    def add(self, matrix: AlignmentMatrix, links: Sequence[Link]) -> None:
        if self.count == 0:
            self._policy = _policy(matrix)
        self._write(f"weights_{self.count}", matrix.weights)
        self._write(f"src_{self.count}", np.array(matrix.src_tokens, dtype=np.str_))
        self._write(f"tgt_{self.count}", np.array(matrix.tgt_tokens, dtype=np.str_))
        if matrix.null is not None:
            self._write(f"null_{self.count}", matrix.null)
        self.count += 1

    def finish(self) -> None:
        for name, value in self._policy.items():
            self._write(name, np.array(value))

    def close(self) -> None:
        self._zip.close()

    def _write(self, name: str, array: np.ndarray[Any, Any]) -> None:
        with self._zip.open(f"{name}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, array, allow_pickle=False)


class _PharaohWriter(AlignmentWriter):
    def __init__(self, path: Path):
        super().__init__(path)
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def add(self, matrix: AlignmentMatrix, links: Sequence[Link]) -> None:
        self._file.write(format_pharaoh(links) + "\n")

    def close(self) -> None:
        self._file.close()


class _TableWriter(AlignmentWriter):
    def __init__(self, path: Path):
        super().__init__(path)
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._file.write("line\tsource\ttarget\tweight\n")

    def add(self, matrix: AlignmentMatrix, links: Sequence[Link]) -> None:
        self.count += 1
        weights = matrix.link_weights
        for src, tgt in links:
            words = f"{matrix.src_tokens[src]}\t{matrix.tgt_tokens[tgt]}"
            self._file.write(f"{self.count}\t{words}\t{float(weights[tgt, src]):.4f}\n")

    def close(self) -> None:
        self._file.close()


class _PictureWriter(AlignmentWriter):
    def __init__(self, path: Path):
        super().__init__(path)
        self._path = path
        self._drawable: list[AlignmentMatrix] = []

    def add(self, matrix: AlignmentMatrix, links: Sequence[Link]) -> None:
        if matrix.weights.size and len(self._drawable) < MAX_PICTURES:
            self._drawable.append(matrix)

    def finish(self) -> None:
        from nmt.alignment.heatmap import save_heatmaps

        if not self._drawable:
            raise AlignmentError(f"{self._path}: there is nothing to draw, because all lines are empty")
        save_heatmaps(self._drawable, self._path)


def matrix_fields(matrix: AlignmentMatrix) -> dict[str, Any]:
    """Return a matrix as the fields of a JSON object: both lists of tokens, and the weights rounded to six digits."""
    weights = [[round(float(w), 6) for w in row] for row in matrix.weights]
    null = {} if matrix.null is None else {"null": [round(float(value), 6) for value in matrix.null]}
    return {"src": matrix.src_tokens, "tgt": matrix.tgt_tokens, "weights": weights, **null}


def read_alignments(path: str | Path) -> list[AlignmentMatrix]:
    """Read what `write_alignments` wrote as ``.json`` or ``.npz``; nothing is unpickled.

    Raises:
        AlignmentError: if the file cannot be read, or does not hold alignment matrices.
    """
    path = Path(path)
    if path.suffix not in _READERS:
        raise AlignmentError(
            f"{path}: matrices are read from {' or '.join(_READERS)}; links from .pharaoh, see read_gold"
        )
    try:
        return _READERS[path.suffix](path)
    except OSError as error:
        raise AlignmentError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise AlignmentError(f"{path}: these are not alignment matrices that nmt wrote: {error}") from None


def _read_json(path: Path) -> list[AlignmentMatrix]:
    kept = json.loads(path.read_text(encoding="utf-8"))
    return [
        AlignmentMatrix(
            np.array(one["weights"], dtype=np.float32).reshape(len(one["tgt"]), len(one["src"])),
            list(one["src"]),
            list(one["tgt"]),
            kept["level"],
            kept["eos"],
            kept["read_from"],
            np.array(one["null"], dtype=np.float32) if "null" in one else None,
        )
        for one in kept["sentences"]
    ]


def _read_npz(path: Path) -> list[AlignmentMatrix]:
    with np.load(path, allow_pickle=False) as arrays:
        level, eos, read_from = (str(arrays[name]) for name in ("level", "eos", "read_from"))
        return [
            AlignmentMatrix(
                arrays[f"weights_{index}"],
                arrays[f"src_{index}"].tolist(),
                arrays[f"tgt_{index}"].tolist(),
                cast("Level", level),
                cast("Literal['row', 'dropped']", eos),
                read_from,
                arrays.get(f"null_{index}"),
            )
            for index in range(sum(name.startswith("weights_") for name in arrays.files))
        ]


def _policy(matrix: AlignmentMatrix | None) -> dict[str, str]:
    if matrix is None:
        return {"level": "words", "eos": "dropped", "read_from": "attention"}
    return {"level": matrix.level, "eos": matrix.eos, "read_from": matrix.read_from}


_WRITERS: dict[str, type[AlignmentWriter]] = {
    ".json": _JsonWriter,
    ".npz": _NpzWriter,
    ".pharaoh": _PharaohWriter,
    ".png": _PictureWriter,
    ".pdf": _PictureWriter,
    ".svg": _PictureWriter,
    ".tsv": _TableWriter,
}
_READERS: dict[str, Callable[[Path], list[AlignmentMatrix]]] = {".json": _read_json, ".npz": _read_npz}
