"""Where text comes from, and how it is cut into pieces."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from nmt.config.section import Positive, Section, problem

BUILTIN_CORPORA = ("phrasebook",)
BUILTIN_COLUMNS = ("en", "fr")


class Source(Section):
    """Where one split's sentence pairs come from; exactly one of four forms.

    - ``builtin:phrasebook``, a corpus that comes with the package (columns ``en`` and ``fr``);
    - ``{src: FILE, tgt: FILE}``, two text files of equal length, plain or .gz;
    - ``{path: FILE, src: COLUMN, tgt: COLUMN}``, a .tsv, .csv, .jsonl or .parquet file (text formats also as .gz);
    - ``{hub: NAME, config: ..., split: ..., src: COLUMN, tgt: COLUMN}``, a dataset of the Hugging Face hub, or a local
      folder in the hub's layout, with flat columns or a nested ``translation: {en: ..., de: ...}``.
    """

    builtin: Literal["phrasebook"] | None = None
    path: str | None = None
    hub: str | None = None
    config: str | None = None
    split: str | None = None
    src: str | None = None
    tgt: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        named = [key for key in ("builtin", "path", "hub") if getattr(self, key) is not None]
        if len(named) > 1:
            raise problem(f"give one of builtin, path and hub, not {' and '.join(named)}")
        if self.builtin is not None:
            if {self.src, self.tgt} not in ({None}, set(BUILTIN_COLUMNS)):
                raise problem(f"src and tgt of a builtin corpus are {' and '.join(BUILTIN_COLUMNS)}, or none")
        elif self.src is None or self.tgt is None:
            raise problem("needs both src and tgt (two files, or two columns of path or hub)")
        if self.hub is None and (self.config is not None or self.split is not None):
            raise problem("config and split belong to a hub dataset; name it with hub")
        return self

    def reversed(self) -> "Source":
        """The same source with its sides exchanged."""
        src, tgt = (self.src, self.tgt) if self.builtin is None or self.src else BUILTIN_COLUMNS
        return self.model_copy(update={"src": tgt, "tgt": src})

    def under(self, root: str | None) -> "Source":
        """The same source with its relative files (or local hub folder) looked up under `root`."""

        def place(path: str | None) -> str | None:
            return path if path is None or root is None else str(Path(root).expanduser() / path)

        if self.path is not None:
            return self.model_copy(update={"path": place(self.path)})
        if self.hub is not None:
            local = place(self.hub)
            return self.model_copy(update={"hub": local}) if local and Path(local).is_dir() else self
        if self.builtin is not None:
            return self
        return self.model_copy(update={"src": place(self.src), "tgt": place(self.tgt)})


def _source_shorthand(value: Any) -> Any:
    if isinstance(value, str):
        kind, _, name = value.partition(":")
        if kind != "builtin" or name not in BUILTIN_CORPORA:
            raise problem(f"'{value}' is no corpus; write builtin:phrasebook, or a mapping with src and tgt")
        return {"builtin": name}
    return value


SourceField = Annotated[Source, BeforeValidator(_source_shorthand)]


class DataConfig(Section):
    """The corpus: `root` is put before every relative path; `max_length` counts pieces and filters training only.

    `reverse` exchanges source and target of every split (and of its links): the backward model of the same data.
    """

    root: str | None = None
    train: SourceField
    valid: SourceField
    test: SourceField | None = None
    src_lang: str = "src"
    tgt_lang: str = "tgt"
    reverse: bool = False
    max_length: Positive = 100
    cache_dir: str = "~/.cache/nmt"

    def source(self, split: Literal["train", "valid", "test"]) -> Source | None:
        """The source of one split, with `root` and `reverse` applied; None if the configuration names none."""
        source: Source | None = getattr(self, split)
        if source is None:
            return None
        placed = source.under(self.root)
        return placed.reversed() if self.reverse else placed


class SamplingConfig(Section):
    """Subword sampling during training, drawn anew each epoch.

    For `unigram`, `alpha` smooths the distribution over the `nbest` best segmentations of each word (-1: all; Kudo
    2018). For `bpe`, `alpha` is the probability of leaving a merge out (BPE-dropout, Provilkov et al. 2020).
    """

    enabled: bool = False
    alpha: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    nbest: int = -1

    @model_validator(mode="after")
    def _nbest(self) -> Self:
        if self.nbest in (0, 1) or self.nbest < -1:
            raise problem("nbest must be -1 (all segmentations) or at least 2")
        return self


class TokenizerConfig(Section):
    """The sentencepiece model trained from the training text.

    No piece of a `bpe` or `unigram` model crosses a cut in the training text. `cut: signs` is sentencepiece's own, at
    every change between letters and other signs (t | ' | aime); `cut: words` is where words end (t' | aime).
    """

    type: Literal["bpe", "unigram", "char", "word"] = "bpe"
    vocab_size: Annotated[int, Field(gt=4)] = 8000
    joint: bool = True
    cut: Literal["signs", "words"] = "signs"
    byte_fallback: bool = False
    character_coverage: Annotated[float, Field(gt=0.9, le=1.0)] = 1.0
    sampling: SamplingConfig = SamplingConfig()

    @model_validator(mode="after")
    def _sampling_needs_subwords(self) -> Self:
        if self.sampling.enabled and self.type not in ("bpe", "unigram"):
            raise problem(f"sampling needs type bpe or unigram; a {self.type} model has one segmentation only")
        return self
