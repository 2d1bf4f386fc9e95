"""Settings for where text comes from and how it is split into pieces."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, PrivateAttr, SerializeAsAny

from nmt.config.choice import Choice
from nmt.config.section import Positive, Problem, Section, problem

BUILTIN_CORPORA = ("phrasebook",)
BUILTIN_COLUMNS = ("en", "fr")


Filter = Literal["duplicates", "identical", "lengths", "markup", "characters", "script", "shared_sides", "overlap"]
# Filters that suit every corpus. Where short texts repeat, `shared_sides` leaves out many good pairs.
USUAL_FILTERS: tuple[Filter, ...] = tuple(name for name in get_args(Filter) if name != "shared_sides")


def _column_number(value: Any) -> Any:
    """Return a column number as text, and any other value unchanged."""
    return str(value) if type(value) is int else value


class Source(Section):
    """Where the sentence pairs of one split come from, given in exactly one of five forms.

    - ``builtin:phrasebook``, a corpus that comes with the package (columns ``en`` and ``fr``);
    - ``{src: FILE, tgt: FILE}``, two text files of equal length, plain, .gz or .zst;
    - ``{path: FILE, src: COLUMN, tgt: COLUMN}``, a .tsv, .csv, .jsonl (each also as .gz or .zst) or .parquet file; with
      ``header: false``, the columns of a .tsv or .csv file are numbered from 1 instead of named;
    - ``{hub: NAME, config: ..., split: ..., revision: ..., src: COLUMN, tgt: COLUMN}``, a dataset of the Hugging Face
      hub, or a local folder in the hub's layout, with flat columns or a nested ``translation: {en: ..., de: ...}``.
      `revision` is a commit, tag or branch; with a full commit hash the data can never change;
    - a list of these (or ``{parts: [...]}``), which are concatenated. In training data each part may have a `weight`,
      which is how often its pairs occur in an epoch. A fractional weight selects different pairs in every epoch.

    `tag` is a piece that is put before each source text, such as ``<bt>`` for machine translations or ``<2fr>`` for the
    target language. It is never split. To translate a line, write the tag before it as well.

    `links` is a file with one line of word links in Pharaoh notation for each pair; the line is empty if a pair has no
    links. Links of the training data guide the attention. Links of the other splits are gold links, from which
    validation and `nmt eval` compute the AER.
    """

    builtin: Literal["phrasebook"] | None = None
    path: str | None = None
    hub: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    src: Annotated[str | None, BeforeValidator(_column_number)] = None
    tgt: Annotated[str | None, BeforeValidator(_column_number)] = None
    header: bool = True
    links: str | None = None
    tag: str | None = None
    weight: Annotated[float, Field(gt=0.0, le=1000.0)] = 1.0
    parts: "list[SourceField]" = Field(default_factory=list)
    _turned: bool = PrivateAttr(default=False)

    def problems(self) -> Iterator[Problem]:
        """Yield each reason why the source has none of the five forms."""
        if self.tag is not None and (not self.tag or any(char.isspace() or char == "\u2581" for char in self.tag)):
            yield Problem(f"a tag must have at least one character and no spaces, not {self.tag!r}", ("tag",))
        if self.parts:
            given = [key for key in type(self).model_fields if key != "parts" and key in self._given()]
            if given:
                yield Problem(f"a list of parts has no {given[0]} of its own; give it to the parts", (given[0],))
            if any(part.parts for part in self.parts):
                yield Problem("a part cannot have parts", ("parts",))
            return
        named = [key for key in ("builtin", "path", "hub") if getattr(self, key) is not None]
        if len(named) > 1:
            yield Problem(f"give one of builtin, path and hub, not {' and '.join(named)}", (named[1],))
        if self.builtin is not None:
            if {self.src, self.tgt} not in ({None}, set(BUILTIN_COLUMNS)):
                columns = " and ".join(BUILTIN_COLUMNS)
                yield Problem(f"src and tgt of a builtin corpus must be {columns}, or left out", ("src", "tgt"))
        elif self.src is None or self.tgt is None:
            yield Problem("needs both src and tgt (two files, or two columns of path or hub)")
        of_the_hub = tuple(key for key in ("config", "split", "revision") if getattr(self, key) is not None)
        if self.hub is None and of_the_hub:
            belong = "belongs" if len(of_the_hub) == 1 else "belong"
            yield Problem(f"{' and '.join(of_the_hub)} {belong} to a hub dataset; name it with hub", of_the_hub)
        if not self.header:
            if self.path is None:
                yield Problem("header is only for tables, which are named with path", ("header",))
            elif not all(side is None or (side.isdecimal() and int(side) > 0) for side in (self.src, self.tgt)):
                yield Problem("without a header, src and tgt are numbers of columns, from 1", ("src", "tgt"))
        if self.builtin is not None and self.links is not None:
            yield Problem("a builtin corpus has links of its own, so take links out", ("links", "builtin"))

    def _given(self) -> set[str]:
        """Return the keys whose values differ from the defaults."""
        return {key for key, field in type(self).model_fields.items() if getattr(self, key) != field.get_default()}

    @property
    def each(self) -> "list[Source]":
        """The parts, or the source itself if it has none."""
        return self.parts or [self]

    def reversed(self) -> "Source":
        """Return the same source with its two sides exchanged."""
        if self.parts:
            return self.model_copy(update={"parts": [part.reversed() for part in self.parts]})
        src, tgt = (self.src, self.tgt) if self.builtin is None or self.src else BUILTIN_COLUMNS
        turned = self.model_copy(update={"src": tgt, "tgt": src})
        turned._turned = self.links is not None and not self._turned
        return turned

    @property
    def turns_links(self) -> bool:
        """Whether the file of links was written for the other direction."""
        return self._turned

    def under(self, root: str | None) -> "Source":
        """Return the same source with its relative files (or local hub folder) resolved against `root`."""

        def under_root(path: str | None) -> str | None:
            return path if path is None or root is None else str(Path(root).expanduser() / Path(path).expanduser())

        if self.parts:
            return self.model_copy(update={"parts": [part.under(root) for part in self.parts]})
        if self.builtin is not None:
            return self
        placed: dict[str, str | None] = {"links": under_root(self.links)}
        if self.path is not None:
            placed["path"] = under_root(self.path)
        elif self.hub is not None:
            local = under_root(self.hub)
            placed |= {"hub": local} if local and Path(local).is_dir() else {}
        else:
            placed |= {"src": under_root(self.src), "tgt": under_root(self.tgt)}
        return self.model_copy(update=placed)


def _source_shorthand(value: Any) -> Any:
    if isinstance(value, list):
        if not value:
            raise problem("the list is empty; give at least one source")
        return {"parts": value}
    if isinstance(value, str):
        kind, _, name = value.partition(":")
        if kind != "builtin" or name not in BUILTIN_CORPORA:
            raise problem(f"'{value}' is not a corpus; write builtin:phrasebook, or a mapping with src and tgt")
        return {"builtin": name}
    return value


SourceField = Annotated[Source, BeforeValidator(_source_shorthand)]
Source.model_rebuild()


class DataConfig(Section):
    """The corpus. Relative paths are relative to `root`; `max_length` is in pieces and filters only the training data.

    `reverse` exchanges source and target in every split (and in its links), to train the backward model on the same
    data.

    `filters` names the filters that remove pairs from the training data: `duplicates` of an earlier pair, `identical`
    sides, `lengths` that do not match, `markup`, `characters` (control and replacement characters, line ends inside a
    line), `script` (a side in a different script from most of its lines), and `overlap` (pairs of the validation
    and test data). `nmt doctor` reports how many pairs each of these would remove. `shared_sides` removes the pairs one
    side of which is a side of a validation or test pair, such as other translations of its source.

    `temperature` T weights the parts of the training data by size. A part of n pairs gets a share of an epoch in
    proportion to n ** (1 / T), so small parts are oversampled (Arivazhagan et al. 2019). The number of pairs in an
    epoch does not change. With 1, the parts are not weighted.
    """

    root: str | None = None
    train: SourceField
    valid: SourceField
    test: SourceField | None = None
    src_lang: str = "src"
    tgt_lang: str = "tgt"
    reverse: bool = False
    max_length: Positive = 100
    filters: list[Filter] = Field(default_factory=list)
    temperature: Annotated[float, Field(ge=1.0, le=100.0)] = 1.0
    cache_dir: str = "~/.cache/nmt"

    def problems(self) -> Iterator[Problem]:
        """Yield splits whose two sides are the same, and weights that have no effect."""
        yield from self._weight_problems()
        for split in ("train", "valid", "test"):
            whole: Source | None = getattr(self, split)
            for source in whole.each if whole is not None else ():
                if source.builtin is not None or source.src is None or source.src != source.tgt:
                    continue
                what = "the column" if source.path or source.hub else "the file"
                message = f"{split}: src and tgt are both {what} {source.src}; give the other side its own"
                yield Problem(message, (f"{split}.tgt",))

    def _weight_problems(self) -> Iterator[Problem]:
        weighted = [split for split in ("train", "valid", "test") if self._has_weights(split)]
        if any(split != "train" for split in weighted):
            yield Problem(f"{weighted[-1]}: weight can only be set for training data", (weighted[-1],))
        if weighted == ["train"] and len(self.train.parts) < 2:
            yield Problem(
                "train: weight needs a list of parts; a single corpus always has each of its pairs once", ("train",)
            )
        if self.temperature != 1.0 and (len(self.train.parts) < 2 or weighted):
            yield Problem(
                "temperature sets the weights of the parts of train, so train must be a list without weights",
                ("temperature",),
            )

    def _has_weights(self, split: str) -> bool:
        source: Source | None = getattr(self, split)
        return source is not None and any(part.weight != 1.0 for part in source.each)

    @property
    def tags(self) -> list[str]:
        """The tags of all splits."""
        sources: list[Source | None] = [self.train, self.valid, self.test]
        tags = (part.tag for source in sources if source is not None for part in source.each)
        return sorted({tag for tag in tags if tag is not None})

    @property
    def languages(self) -> tuple[str, str]:
        """The names of the source and the target language, with `reverse` applied."""
        return (self.tgt_lang, self.src_lang) if self.reverse else (self.src_lang, self.tgt_lang)

    def source(self, split: Literal["train", "valid", "test"]) -> Source | None:
        """Return the source of one split, with `root` and `reverse` applied; None if the configuration names none."""
        source: Source | None = getattr(self, split)
        if source is None:
            return None
        placed = source.under(self.root)
        return placed.reversed() if self.reverse else placed


class SubwordSamplingConfig(Section):
    """Subword sampling during training, with new segmentations in each epoch.

    For `unigram`, `alpha` smooths the distribution over the `nbest` best segmentations of each word (-1: all; Kudo
    2018). For `bpe`, `alpha` is the probability of leaving a merge out (BPE-dropout, Provilkov et al. 2020). A pair
    that occurs several times in an epoch, because of its weight, has the same segmentation each time.
    """

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {
        "alpha": ("enabled", (True,)),
        "nbest": ("enabled", (True,)),
    }
    enabled: bool = False
    alpha: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    nbest: int = -1

    def problems(self) -> Iterator[Problem]:
        """Yield an invalid number of segmentations to sample from."""
        if self.nbest in (0, 1) or self.nbest < -1:
            yield Problem("nbest must be -1 (all segmentations) or at least 2", ("nbest",))


class BaseTokenizerConfig(Section):
    """The settings that the tokenizers of this package and of installed packages share.

    To add a tokenizer in a package of your own, write a subclass with its own `type` and options that overrides `train`
    and `load`, and register it in the entry-point group ``nmt.tokenizer``; docs/extending.md has an example.
    """

    type: str
    joint: bool = True

    def train(self, pairs: Callable[[], Iterable[tuple[str, str]]]) -> Any:
        """Return a tokenizer trained on (source, target) texts; `pairs` can be called several times."""
        raise NotImplementedError

    def load(self, folder: Path) -> Any:
        """Return the tokenizer that its method `save` wrote into `folder`."""
        raise NotImplementedError


class TokenizerConfig(BaseTokenizerConfig):
    """A sentencepiece model that is trained on the training text.

    No piece of a `bpe` or `unigram` model crosses a boundary of the pretokenization. `unicode_script` is
    sentencepiece's own pretokenization and has a boundary wherever letters and other characters meet (t | ' | aime).
    `words` has a boundary at the end of each word (t' | aime).

    `normalization` is sentencepiece's rule for equivalent characters. `nmt_nfkc` and `nfkc` turn full-width letters and
    signs into plain ones (（ becomes "("), and `nmt_nfkc` turns zero-width spaces and joiners into spaces, although
    Persian and Khmer need them. The rules that end in ``_cf`` also lowercase the text, and `identity` changes nothing.
    `user_defined_symbols` are pieces that are never split, such as tags or names.

    `model` is an existing sentencepiece model, given by its file or a run folder, to use instead of training one. All
    other settings except `sampling` then come from that model. With sampling, `type` must be the type that the model
    was trained as.
    """

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {"pretokenization": ("type", ("bpe", "unigram"))}
    type: Literal["bpe", "unigram", "char", "word"] = "bpe"
    vocab_size: Annotated[int, Field(gt=4)] = 8000
    pretokenization: Literal["unicode_script", "words"] = "unicode_script"
    byte_fallback: bool = False
    character_coverage: Annotated[float, Field(gt=0.9, le=1.0)] = 1.0
    normalization: Literal["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"] = "nmt_nfkc"
    user_defined_symbols: list[str] = Field(default_factory=list)
    sampling: SubwordSamplingConfig = SubwordSamplingConfig()
    model: str | None = None

    def problems(self) -> Iterator[Problem]:
        """Yield settings that `model` overrides, invalid symbols, and sampling that the type does not support."""
        if self.model is not None:
            for key, field in type(self).model_fields.items():
                default = field.get_default(call_default_factory=True)
                if key not in ("model", "sampling", "type") and getattr(self, key) != default:
                    yield Problem(f"{key} has no effect with model, which has its own; take it out", (key, "model"))
        for symbol in self.user_defined_symbols:
            if not symbol or any(char.isspace() or char == "\u2581" for char in symbol):
                yield Problem(
                    f"a symbol must have at least one character and no spaces, not {symbol!r}",
                    ("user_defined_symbols",),
                )
        if len(set(self.user_defined_symbols)) < len(self.user_defined_symbols):
            yield Problem("a symbol is given twice", ("user_defined_symbols",))
        if self.sampling.enabled and self.type not in ("bpe", "unigram"):
            keys = ("sampling.enabled", "type")
            yield Problem(f"sampling needs type bpe or unigram; a {self.type} model has one segmentation only", keys)
        if self.sampling.nbest != -1 and self.type != "unigram":
            keys = ("sampling.nbest", "type")
            yield Problem(f"sampling.nbest belongs to the type unigram, not to '{self.type}'", keys)


TOKENIZERS = Choice(
    group="nmt.tokenizer",
    key="type",
    base=BaseTokenizerConfig,
    builtin=dict.fromkeys(("bpe", "unigram", "char", "word"), TokenizerConfig),
    default="bpe",
    aliases={"sentencepiece": "bpe", "spm": "bpe", "subword": "bpe", "character": "char"},
)
TokenizerField = Annotated[SerializeAsAny[BaseTokenizerConfig], TOKENIZERS.validator()]
