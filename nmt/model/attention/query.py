"""The query: what the decoder's side of an attention knows when it looks at the source."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

ApplyLinear = Callable[[nn.Linear, Tensor], Tensor]


def apply_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Return x Wᵀ + b."""
    return layer(x)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Query:
    """The decoder's side of an attention: Q queries for each of B sentences.

    The queries of a sentence are its target positions or the hypotheses of its beam.

    Attributes:
        state: ``[B, Q, H]`` the decoder's state.
        embedding: ``[B, Q, E]`` the embedding of the last target piece.
        position: ``[Q]`` the number of pieces before that one.
        coverage: ``[B, Q, L, C]``, or None without coverage.
        linear: the function that applies a linear layer. In step-by-step training it is a `DeferredLayers`, which
            computes each weight gradient once for all steps, so use it, or `project`, for every layer that reads the
            query.
    """

    state: Tensor
    embedding: Tensor
    position: Tensor
    coverage: Tensor | None = None
    linear: ApplyLinear = apply_linear

    def project(self, layer: nn.Linear) -> Tensor:
        """Return the state through a linear layer, ``[B, Q, *]``."""
        return self.linear(layer, self.state)

    def one_by_one(self) -> "Query":
        """Return the same queries as B x Q sentences with one query each, without coverage."""
        state, embedding = (tensor.flatten(0, 1)[:, None] for tensor in (self.state, self.embedding))
        return Query(state, embedding, self.position, None, self.linear)
