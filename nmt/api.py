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

from nmt.alignment.matrix import AlignmentMatrix, Level
from nmt.decoding.translator import Translation, Translator
from nmt.errors import AlignmentError
from nmt.runs.load import LoadedModel, load_model


class Model:
    """A trained model, or several that translate together; methods batch by themselves and may be called from threads.

    It holds no state between calls: the weights are read, the settings are copied.
    """

    def __init__(self, loaded: LoadedModel):
        """Take a loaded model; see `load`."""
        self._loaded = loaded

    def translate(
        self, lines: Sequence[str], *, beam: int | None = None, n_best: int = 1, prefixes: Sequence[str] | None = None
    ) -> list[Translation]:
        """Translate lines.

        Args:
            lines: source texts; a single string is refused, since it would be taken for its characters.
            beam: its size, 1 for greedy search; None for the model's own setting.
            n_best: translations per line; all but the best are its `others`.
            prefixes: what each translation must begin with, "" for nothing.

        Returns:
            One per line, in order.

        Raises:
            TypeError: for a single string.
            ValueError: for a beam or number of translations below 1, or another number of prefixes than lines.
        """
        for value in (lines, prefixes):
            if isinstance(value, str):
                raise TypeError('give a list of lines, such as ["I love you"], not one string')
        if n_best < 1 or (beam is not None and beam < 1):
            raise ValueError(f"beam and n_best are at least 1, not {beam} and {n_best}")
        if prefixes is not None and len(prefixes) != len(lines):
            raise ValueError(f"{len(prefixes)} prefixes for {len(lines)} lines; give one for each")
        translator = self._loaded.translator
        if beam is not None:
            settings = translator.settings.model_copy(update={"beam_size": beam})
            translator = Translator(
                translator.model, translator.tokenizer, settings, translator.device, translator.aligner
            )
        return translator.translate(lines, n_best=n_best, prefixes=prefixes)

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Translation]:
        """Score given (source, target) pairs: log-probabilities and matrices, as search would have them."""
        return self._loaded.translator.force(pairs)

    def align(self, pairs: Sequence[tuple[str, str]], *, level: Level = "words") -> list[AlignmentMatrix]:
        """Alignment matrices of given (source, target) pairs.

        Raises:
            AlignmentError: for a model without attention.
        """
        translator = self._loaded.translator
        matrices = [translation.alignment(level) for translation in translator.with_links(translator.force(pairs))]
        if any(matrix is None for matrix in matrices):
            raise AlignmentError("this model has no attention (model.attention.score is none), so it aligns nothing")
        return [matrix for matrix in matrices if matrix is not None]


def load(
    model: str | Path | Sequence[str | Path] | None = None,
    *,
    checkpoint: str | None = None,
    overrides: Iterable[str] = (),
) -> Model:
    """Load a model folder; threads, memory and random generators of the process stay as they are.

    Args:
        model: the folder, or several of one vocabulary that translate together; None for ``runs/latest``.
        checkpoint: `best`, `last`, `averaged` or ``step-<update>``; None for the best.
        overrides: settings as on the command line, such as ``decoding.length_penalty=0.6``.

    Raises:
        CheckpointError: if there is none, or it is damaged.
        ConfigError: for an override that is no setting.
    """
    if model is None or isinstance(model, (str, Path)):
        folders = None if model is None else [Path(model)]
    else:
        folders = [Path(one) for one in model]
    return Model(load_model(folders, checkpoint, overrides, owns_process=False))
