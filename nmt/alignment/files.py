"""Alignment matrices as files: json, npz, pharaoh or png, chosen by the file's suffix."""

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from nmt.alignment.links import format_pharaoh
from nmt.alignment.matrix import AlignmentMatrix, Level
from nmt.atomic import atomic_write
from nmt.errors import AlignmentError

MAX_PICTURES = 50


def check_suffix(path: Path, more: Sequence[str] = ()) -> None:
    """Refuse a path that `write_alignments` could not write, before any work is done.

    Args:
        path: the file.
        more: suffixes beside those that `write_alignments` knows.

    Raises:
        AlignmentError: for an unknown suffix, naming the known ones, or a missing folder.
    """
    known = [*_WRITERS, *more]
    if path.suffix not in known:
        raise AlignmentError(f"{path}: alignments are written as {', '.join(known)}; choose one of these suffixes")
    if not path.parent.is_dir():
        raise AlignmentError(f"{path}: there is no folder {path.parent} to write it in")


def write_alignments(
    path: Path, matrices: Sequence[AlignmentMatrix], links: Sequence[Sequence[tuple[int, int]]] | None = None
) -> None:
    """Write one matrix per line of input.

    Args:
        path: the file.
        matrices: one for each line.
        links: what a ``.pharaoh`` file holds instead of each target token's largest weight.

    - ``.json``: ``{"level", "eos", "read_from", "sentences": [{"src", "tgt", "weights"}]}``; `src`, `tgt` token lists.
    - ``.npz``: arrays ``weights_<i>``, ``src_<i>``, ``tgt_<i>`` from 0, and `level`, `eos` and `read_from`; no pickle.
    - ``.pharaoh``: one line of ``source-target`` links per sentence, from 0: each target token's largest weight.
    - ``.png``: heat maps, the first 50 at most.

    Raises:
        AlignmentError: for another suffix.
    """
    check_suffix(path)
    with atomic_write(path) as tmp_path:
        if links is not None and path.suffix == ".pharaoh":
            tmp_path.write_text("".join(format_pharaoh(sentence) + "\n" for sentence in links), encoding="utf-8")
            return
        _WRITERS[path.suffix](tmp_path, matrices)


def matrix_fields(matrix: AlignmentMatrix) -> dict[str, Any]:
    """A matrix as the fields of a JSON object: both token lists, and the weights rounded to six digits."""
    weights = [[round(float(w), 6) for w in row] for row in matrix.weights]
    return {"src": matrix.src_tokens, "tgt": matrix.tgt_tokens, "weights": weights}


def read_alignments(path: Path) -> list[AlignmentMatrix]:
    """Read what `write_alignments` wrote as ``.json`` or ``.npz``; nothing is unpickled.

    Raises:
        AlignmentError: if the file cannot be read, or is something else.
    """
    if path.suffix not in _READERS:
        raise AlignmentError(
            f"{path}: matrices are read from {' or '.join(_READERS)}; links from .pharaoh, see read_gold"
        )
    try:
        return _READERS[path.suffix](path)
    except OSError as error:
        raise AlignmentError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise AlignmentError(f"{path}: no alignment matrices as nmt writes them: {error}") from None


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
            )
            for index in range((len(arrays.files) - 3) // 3)
        ]


def _policy(matrices: Sequence[AlignmentMatrix]) -> dict[str, str]:
    if not matrices:
        return {"level": "words", "eos": "dropped", "read_from": "attention"}
    return {"level": matrices[0].level, "eos": matrices[0].eos, "read_from": matrices[0].read_from}


def _write_json(path: Path, matrices: Sequence[AlignmentMatrix]) -> None:
    sentences = [matrix_fields(matrix) for matrix in matrices]
    path.write_text(
        json.dumps(_policy(matrices) | {"sentences": sentences}, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _write_npz(path: Path, matrices: Sequence[AlignmentMatrix]) -> None:
    arrays: dict[str, Any] = {name: np.array(value) for name, value in _policy(matrices).items()}
    for index, matrix in enumerate(matrices):
        arrays[f"weights_{index}"] = matrix.weights
        arrays[f"src_{index}"] = np.array(matrix.src_tokens, dtype=np.str_)
        arrays[f"tgt_{index}"] = np.array(matrix.tgt_tokens, dtype=np.str_)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _write_pharaoh(path: Path, matrices: Sequence[AlignmentMatrix]) -> None:
    path.write_text("".join(format_pharaoh(matrix.links()) + "\n" for matrix in matrices), encoding="utf-8")


def _write_picture(path: Path, matrices: Sequence[AlignmentMatrix]) -> None:
    from nmt.alignment.heatmap import save_heatmaps

    drawable = [matrix for matrix in matrices if matrix.weights.size][:MAX_PICTURES]
    if not drawable:
        raise AlignmentError(f"{path}: there is nothing to draw, all lines are empty")
    save_heatmaps(drawable, path)


_WRITERS: dict[str, Callable[[Path, Sequence[AlignmentMatrix]], None]] = {
    ".json": _write_json,
    ".npz": _write_npz,
    ".pharaoh": _write_pharaoh,
    ".png": _write_picture,
}
_READERS: dict[str, Callable[[Path], list[AlignmentMatrix]]] = {".json": _read_json, ".npz": _read_npz}
