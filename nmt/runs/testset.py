"""A test set that a model is to translate: where its results go, and what would fail after hours of decoding."""

from pathlib import Path
from typing import Literal, NamedTuple

from nmt.alignment.files import check_suffix
from nmt.config import CometMetricConfig, Source
from nmt.data.cache import Table
from nmt.data.dataset import PieceCorpus, encode_table
from nmt.data.lines import without_packing
from nmt.data.prepare import pieces_path, refuse_longer_than_the_model
from nmt.data.sources import described, load_text
from nmt.decoding.output import OutputOptions, matrix_of
from nmt.errors import DataError
from nmt.evaluation.comet import comet_program
from nmt.evaluation.files import prepare_output
from nmt.runs.load import LoadedModel


class TestSet(NamedTuple):
    """A test set that a model can translate.

    Attributes:
        data: a description of the data that it consists of.
        stem: the path, without a suffix, of the files with its results.
        text: its pairs.
        pieces: the pieces of its pairs.
    """

    data: str
    stem: Path
    text: Table
    pieces: PieceCorpus


def check_test_set(
    model: LoadedModel,
    split: Literal["train", "valid", "test"],
    files: tuple[Path, Path] | None,
    output: Path | None,
    source: Source,
    page: Path | None = None,
) -> TestSet:
    """Return a test set, or refuse what would fail after hours of decoding; see `nmt.commands.evaluate.run_eval`."""
    name = without_packing(files[0].name) if files else split
    data = " | ".join(str(path.resolve()) for path in files) if files else split
    if not files and not model.owns(source, split):  # another test set may be called by the same name
        data = f"{split}: {described(source)}"
    stem = output or model.run.path / "eval" / (name if len(model.members) == 1 else f"{name}.{model.name}")
    prepare_output(stem, data, is_chosen=output is not None)
    _refuse_early(model, page)
    return TestSet(data, stem, *_read(model, source, split, name))


def _refuse_early(model: LoadedModel, page: Path | None) -> None:
    """Refuse options that would fail at the end, before hours are spent on decoding."""
    if any(isinstance(metric, CometMetricConfig) for metric in model.config.evaluation.metrics):
        comet_program()
    if page is not None:
        check_suffix(page, (".html",), only=True)
        matrix_of(model.translator.force([("", "")])[0], OutputOptions())  # raises for a model without attention


def _read(model: LoadedModel, source: Source, split: str, name: str) -> tuple[Table, PieceCorpus]:
    """Return the text of a test set and its pieces.

    Raises:
        DataError: if it cannot be read, or if a line is too long for the model or for scoring its alignment.
    """
    cache, tokenizer = Path(model.config.data.cache_dir).expanduser(), model.translator.tokenizer
    text, fingerprint = load_text(source, split, cache)
    pieces = PieceCorpus(encode_table(text, tokenizer, pieces_path(cache, fingerprint, tokenizer)))
    refuse_longer_than_the_model(pieces, model.config, name)
    limit = model.config.decoding.max_tgt_length
    if has_gold(model, text) and (pieces.tgt_len > limit).any():  # fail now, not after translating
        line = int((pieces.tgt_len > limit).argmax())
        raise DataError(
            f"line {line + 1} of the {name} data has {pieces.tgt_len[line]} target pieces, more than "
            f"decoding.max_tgt_length = {limit}, so its alignment cannot be scored; raise the limit with --set"
        )
    return text, pieces


def has_gold(model: LoadedModel, text: Table) -> bool:
    """Return True if the text comes with links that the model's alignments can be compared with."""
    return model.config.model.has_attention and any(text["links"])
