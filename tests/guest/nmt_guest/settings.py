"""The settings of the five parts. This module is imported when a configuration names one of them; torch is not."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from nmt.config import BaseAttentionConfig, BaseTokenizerConfig, EncoderConfig, MetricConfig, NormaliserConfig


class CosineConfig(BaseAttentionConfig):
    """The cosine of query and key, times `sharpness`."""

    score: Literal["cosine"] = "cosine"
    size: Annotated[int, Field(gt=0)] = 32
    sharpness: Annotated[float, Field(gt=0.0)] = 10.0

    def build(self, query_size: int, memory_size: int, word_size: int) -> Any:
        """Return the score."""
        from nmt_guest.model import CosineScore

        return CosineScore(query_size, memory_size, self.size, self.sharpness)


class TemperedConfig(NormaliserConfig):
    """A softmax with a temperature."""

    type: Literal["tempered"] = "tempered"
    temperature: Annotated[float, Field(gt=0.0)] = 0.5

    def build(self) -> Any:
        """Return a function from energies to weights."""
        return lambda energies: (energies / self.temperature).softmax(dim=-1)

    @property
    def gives_zeros(self) -> bool:
        """Whether a weight can be exactly 0; if not, guided attention can learn by cross-entropy."""
        return False


class ConvolutionConfig(EncoderConfig):
    """Convolutions over neighbouring words."""

    type: Literal["convolution"] = "convolution"
    width: Annotated[int, Field(gt=0)] = 3

    def build(self, embedding_size: int, dropout: float) -> Any:
        """Return the encoder."""
        from nmt_guest.model import ConvolutionEncoder

        return ConvolutionEncoder(embedding_size, self.layers, self.width, dropout)


class WhitespaceConfig(BaseTokenizerConfig):
    """The words between spaces that occur at least `min_count` times."""

    type: Literal["whitespace"] = "whitespace"
    min_count: Annotated[int, Field(gt=0)] = 1

    def train(self, pairs: Callable[[], Iterable[tuple[str, str]]]) -> Any:
        """Return a tokenizer of the words in both sides' training text."""
        from nmt_guest.tokenizer import WhitespaceTokenizer

        return WhitespaceTokenizer.trained(pairs(), self.min_count)

    def load(self, folder: Path) -> Any:
        """Return the tokenizer that was saved in `folder`."""
        from nmt_guest.tokenizer import WhitespaceTokenizer

        return WhitespaceTokenizer.loaded(folder)


class ExactMatchConfig(MetricConfig):
    """The percentage of translations that are equal to their reference."""

    name: Literal["exact"] = "exact"

    def score(self, hyps: Sequence[str], refs: Sequence[str]) -> tuple[float, str]:
        """Return the score and its signature."""
        equal = sum(hyp == ref for hyp, ref in zip(hyps, refs, strict=True))
        return 100 * equal / len(refs), "exact|v1"
