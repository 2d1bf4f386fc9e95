"""`nmt` from Python: load a trained model once, then translate, score and align.

Example::

    import nmt

    model = nmt.load("runs/latest")
    best = model.translate(["I love you"], beam=5, n_best=3)[0]
    print(best.text, best.score, best.alignment().links())
    for other in best.others:
        print(other.text)
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from nmt.alignment.matrix import AlignmentMatrix, Level
from nmt.config import Config, DecodingConfig
from nmt.config.decoding import SamplingConfig
from nmt.decoding.request import Request
from nmt.decoding.translation import Translation
from nmt.decoding.translator import Translator
from nmt.errors import AlignmentError
from nmt.evaluation.calibration import Calibration
from nmt.runs.load import LoadedModel, load_model


class Model:
    """A trained model, or several that translate together.

    Its methods batch their inputs automatically and may be called from several threads. It keeps no state between
    calls: the weights are only read, and the settings are copied.
    """

    def __init__(self, loaded: LoadedModel):
        """Take a loaded model; see `load`."""
        self._loaded = loaded

    def __repr__(self) -> str:
        """Return the name, the languages and the device."""
        return f"Model({self._loaded.name!r}, {self.languages[0]} -> {self.languages[1]}, {self.device})"

    @property
    def config(self) -> Config:
        """The configuration that the model was trained with, with the overrides of `load`."""
        return self._loaded.config

    @property
    def device(self) -> torch.device:
        """The device that the model computes on."""
        return self._loaded.translator.device

    @property
    def languages(self) -> tuple[str, str]:
        """The names of the source and the target language, as given in the configuration."""
        return self.config.data.languages

    @property
    def calibration(self) -> Calibration:
        """The calibration of word confidences that `nmt calibrate` fitted, for `Translation.confidence`."""
        return self._loaded.calibration

    def translate(
        self,
        lines: Iterable[str],
        *,
        beam: int | None = None,
        beam_size: int | None = None,
        n_best: int = 1,
        prefixes: Iterable[str] | None = None,
        require: Iterable[Sequence[str]] | None = None,
        forbid: Iterable[Sequence[str]] | None = None,
        sample: bool | None = None,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> list[Translation]:
        """Translate lines.

        Args:
            lines: source texts; a single string is refused, since it would be read as a list of characters.
            beam: the size of the beam, 1 for greedy search; None for the model's own setting.
            beam_size: another name for `beam`, as in the configuration.
            n_best: the number of translations per line; all but the best are in its attribute `others`.
            prefixes: the text that each translation must begin with; "" for none.
            require: for each line, the phrases that its translation must contain as whole words; ``Haus|Häuser``
                requires one of the two. `Translation.phrases` says where they are.
            forbid: for each line, the phrases that its translation must not contain.
            sample: whether translations are sampled at random instead of searched for; None for the model's own setting
                (`decoding.sampling.enabled`), or for search if `beam` is given.
            temperature: the temperature of the sampling, above 0; None for the model's own setting.
            seed: the seed of the sampling; None for the model's own setting.

        Returns:
            One translation per line, in order.

        Raises:
            TypeError: for a single string, for a line that is not a string, for a number that is not an int, or for
                arguments that exclude each other.
            ValueError: if `beam` or `n_best` is below 1, or if the number of prefixes or of lists of phrases differs
                from the number of lines.
            DataError: for a prefix or phrase that the model cannot write, or for required phrases with sampling.
        """
        if beam is not None and beam_size is not None:
            raise TypeError("beam and beam_size are two names for the same number; give only one of them")
        beam = beam_size if beam is None else beam
        for name, value in (("beam", beam), ("n_best", n_best)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                raise TypeError(f"{name} must be an int, not {value!r}")
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        texts = _texts(lines, "lines")
        begins = [""] * len(texts) if prefixes is None else _texts(prefixes, "prefixes")
        phrases = [_phrases(each, len(texts), name) for each, name in ((require, "require"), (forbid, "forbid"))]
        if len(begins) != len(texts):
            raise ValueError(f"{len(begins)} prefixes for {len(texts)} lines; give one for each")
        requests = [Request(*each) for each in zip(texts, begins, *phrases, strict=True)]
        if sample and beam is not None:
            raise TypeError("beam is for search, and sample=True draws translations at random; give only one of them")
        translator = self._loaded.translator
        own = translator.settings.sampling.enabled
        if sample is None:
            sample = own and beam is None
        if not sample and (temperature is not None or seed is not None):
            raise TypeError("temperature and seed can only be given with sample=True")
        if translator.backward is not None and (sample or beam == 1):
            raise TypeError("the backward model chooses among the translations of a beam; load the model without it")
        if beam is not None or sample or own:
            translator = Translator(
                translator.model,
                translator.tokenizer,
                _settings(translator.settings, beam, sample, temperature, seed),
                translator.device,
                translator.aligner,
                translator.backward,
            )
        return translator.translate(requests, n_best=n_best)

    def score(self, pairs: Iterable[tuple[str, str]]) -> list[Translation]:
        """Return each given (source, target) pair with the log-probabilities and matrices that search would give it.

        Raises:
            TypeError: for a pair that is not two strings.
        """
        return self._loaded.translator.force(_pairs(pairs))

    def align(self, pairs: Iterable[tuple[str, str]], *, level: Level = "words") -> list[AlignmentMatrix]:
        """Return the alignment matrix ``[T, S]`` of each given (source, target) pair.

        Raises:
            AlignmentError: for a model without attention.
            TypeError: for a pair that is not two strings.
            ValueError: for a level that is not `words`, `tokens` or `pieces`.
        """
        translator = self._loaded.translator
        matrices = [
            translation.alignment(level) for translation in translator.with_links(translator.force(_pairs(pairs)))
        ]
        if any(matrix is None for matrix in matrices):
            raise AlignmentError("this model has no attention (model.attention.score is none), so it cannot align")
        return [matrix for matrix in matrices if matrix is not None]


def _settings(
    settings: DecodingConfig, beam: int | None, sample: bool, temperature: float | None, seed: int | None
) -> DecodingConfig:
    """Return a model's decoding settings, updated with the values that were given.

    Raises:
        ValueError: for a temperature that is not above 0, or a negative seed.
    """
    changed: dict[str, Any] = {} if beam is None else {"beam_size": beam}
    given = {"temperature": temperature, "seed": seed}
    values = settings.sampling.model_dump() | {"enabled": sample}
    changed["sampling"] = SamplingConfig(**values | {key: one for key, one in given.items() if one is not None})
    return settings.model_copy(update=changed)


def _texts(lines: Iterable[str], name: str) -> list[str]:
    """Return the lines as a list of strings; refuse anything else."""
    if isinstance(lines, (str, bytes)):
        if "[" in name:  # of phrases
            raise TypeError(f"{name} must be a list of phrases, not one string")
        raise TypeError('give a list of lines, such as ["I love you"], not one string')
    texts = list(lines)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{index}] is {type(text).__name__}, not a string")
        _refuse_surrogates(text, f"{name}[{index}]")
    return texts


def _refuse_surrogates(text: str, name: str) -> None:
    """Refuse half characters, which no encoding of Unicode can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} is not text: {error.reason} (position {error.start})") from None


def _phrases(lists: Iterable[Sequence[str]] | None, count: int, name: str) -> list[tuple[str, ...]]:
    """Return the phrases of each line; no line has any if `lists` is None."""
    if lists is None:
        return [()] * count
    phrases = [tuple(_texts(each, f"{name}[{at}]")) for at, each in enumerate(lists)]
    if len(phrases) != count:
        raise ValueError(f"{name} has {len(phrases)} lists of phrases for {count} lines; give one for each")
    return phrases


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs as a list of pairs of strings; refuse anything else."""
    checked = []
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise TypeError(f"pairs[{index}] is not a pair of strings, (source, target), but {pair!r}")
        for text in pair:
            _refuse_surrogates(text, f"pairs[{index}]")
        checked.append((pair[0], pair[1]))
    return checked


def load(
    model: str | Path | Sequence[str | Path] | None = None,
    *,
    checkpoint: str | None = None,
    device: str | None = None,
    precision: Literal["fp32", "bf16", "int8"] | None = None,
    backward: str | Path | None = None,
    overrides: Iterable[str] = (),
) -> Model:
    """Load a model folder without changing the threads, memory settings or random generators of the process.

    Args:
        model: the folder, or several folders whose models have the same vocabulary and translate together; None for
            ``runs/latest``.
        checkpoint: `best`, `last`, `averaged` or ``step-<update>``; None for the best.
        device: the device, such as ``cpu`` or ``cuda:1``; None to choose one automatically.
        precision: the precision of the weights; None for the model's own setting.
        backward: a model of the other direction, which re-ranks translations (`decoding.backward_weight`).
        overrides: further settings as on the command line, such as ``decoding.length_penalty=0.6``.

    Raises:
        CheckpointError: if there is no model, or it is damaged.
        ConfigError: for an override that is not a setting or cannot change a trained model.
        TypeError: for overrides that are a single string.
        ValueError: for an empty list of models.
    """
    if isinstance(overrides, str):
        raise TypeError('give a list of overrides, such as ["decoding.length_penalty=0.6"], not one string')
    if model is None or isinstance(model, (str, Path)):
        folders = None if model is None else [Path(model)]
    else:
        folders = [Path(one) for one in model]
        if not folders:
            raise ValueError("the list of models is empty; give at least one folder")
    named = {"training.device": device, "decoding.precision": precision}
    given = [f"{key}={value}" for key, value in named.items() if value is not None]
    back = None if backward is None else Path(backward)
    return Model(load_model(folders, checkpoint, [*given, *overrides], owns_process=False, backward=back))
