"""The recurrent attention decoder: `step` is for search, `unroll` for training, and both agree to rounding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.model.attention.base import Attention
from nmt.model.attention.query import ApplyLinear, Query, apply_linear
from nmt.model.dropout import Dropout
from nmt.model.memory import Memory
from nmt.model.rnn.bridge import Bridge
from nmt.model.rnn.cells import gru_cell, layer_function, lstm_cell, step_weights
from nmt.model.rnn.deferred import DeferredLayers, DeferredLinear
from nmt.model.rnn.encoder import RNN

QUERIES_AT_ONCE = 32  # target positions that attend at once outside training, where a pair can have any length


@dataclass(frozen=True)
class DecoderState:
    """Everything that a step needs from the previous one; the N rows are sentences of a batch or their hypotheses.

    Attributes:
        hidden: the hidden state ``[N, H]`` of each layer.
        cell: the cell state ``[N, H]`` of each layer; empty for a GRU.
        feed: ``[N, F]`` the last attentional hidden state h~; ``[N, 0]`` without input feeding.
        coverage: ``[N, L, C]`` the coverage so far; ``[N, 0, 0]`` without coverage.
        position: the number of tokens read so far.
    """

    hidden: tuple[Tensor, ...]
    cell: tuple[Tensor, ...]
    feed: Tensor
    coverage: Tensor
    position: int = 0

    def select(self, rows: Tensor) -> "DecoderState":
        """Return the state with its rows reordered, repeated or left out; row i is the old row ``rows[i]``."""
        hidden, cell = (tuple(layer[rows] for layer in layers) for layers in (self.hidden, self.cell))
        return DecoderState(hidden, cell, self.feed[rows], self.coverage[rows], self.position)


class RNNDecoder(nn.Module):
    """Embedding, recurrent layers, attention and readout, in one of two wirings.

    `bahdanau` (Bahdanau et al. 2015): the previous state is the query, the context enters the cell together with the
    last word, and h~ = tanh(W [h; c; word]), where the paper has a maxout layer. `luong` (Luong et al. 2015): the cell
    comes first, its new state is the query, and h~ = tanh(W [h; c]) (their equation 5). With input feeding, h~ is also
    an input of the cell at the next step (their section 3.3).
    """

    def __init__(
        self,
        *,
        embedding: nn.Embedding,
        cell: Literal["lstm", "gru"],
        hidden_size: int,
        layers: int,
        wiring: Literal["bahdanau", "luong"],
        input_feeding: bool,
        attention: Attention,
        bridge: Bridge,
        feature_size: int,
        dropout_embedding: float,
        dropout_layers: float,
        dropout_recurrent: float = 0.0,
        variational: bool = False,
        residual: bool = False,
    ):
        """Make the layers.

        Args:
            embedding: the embedding of the target pieces.
            cell: `lstm` or `gru`.
            hidden_size: H.
            layers: the number of stacked layers; the output of the top one is the query.
            wiring: `bahdanau` or `luong`.
            input_feeding: whether h~ is an input of the next step.
            attention: the attention mechanism.
            bridge: the module that computes the first state.
            feature_size: F, width of h~.
            dropout_embedding: the dropout on the embeddings.
            dropout_layers: the dropout between the layers.
            dropout_recurrent: the dropout on the recurrent weights; see `weight_drop`.
            variational: whether `dropout_embedding` drops the same values at every position.
            residual: whether each layer above the first adds its outputs to its inputs (Wu et al. 2016, section 3.1).
        """
        super().__init__()
        self.embedding, self.attention, self.bridge = embedding, attention, bridge
        self.attend_before_cell, self.input_feeding, self.feature_size = (
            wiring == "bahdanau",
            input_feeding,
            feature_size,
        )
        self.embedding_size = embedding.embedding_dim
        first = (
            self.embedding_size
            + (feature_size if input_feeding else 0)
            + (attention.context_size if self.attend_before_cell else 0)
        )
        self.layers = nn.ModuleList(
            RNN[cell](first if layer == 0 else hidden_size, hidden_size, batch_first=True) for layer in range(layers)
        )
        readout_size = hidden_size + attention.context_size + (self.embedding_size if self.attend_before_cell else 0)
        self.readout_layer = nn.Linear(readout_size, feature_size, bias=False)
        self.embedding_dropout = Dropout(dropout_embedding, variational)
        self.layer_dropout, self.recurrent_dropout = Dropout(dropout_layers), Dropout(dropout_recurrent)
        self.residual = residual

    def keys(self, values: Tensor) -> Tensor:
        """Return the attention's keys, computed from the memory's values."""
        return self.attention.keys(values)

    def start(self, memory: Memory) -> DecoderState:
        """Return the state before the first step, one row per sentence."""
        hidden, cell = self.bridge(memory)
        batch = memory.values.shape[0]
        feed = memory.values.new_zeros(batch, self.feature_size if self.input_feeding else 0)
        coverage = self.attention.coverage
        seen = memory.values.new_zeros(batch, 0, 0) if coverage is None else coverage.start(memory)
        return DecoderState(hidden.unbind(0), cell.unbind(0), feed, seen)

    def step(self, tokens: Tensor, state: DecoderState, memory: Memory) -> tuple[Tensor, Tensor, DecoderState]:
        """Read one token.

        Args:
            tokens: ``[N]`` the last tokens. N is K x B for the memory's B sentences, and the K rows of a sentence (its
                hypotheses) are adjacent.
            state: the state of N rows.
            memory: the memory of B sentences.

        Returns:
            Features h~ ``[N, F]``, attention weights ``[N, L]``, and the new state.
        """
        embedded = self.embedding_dropout(self.embedding(tokens))
        from_words, products = self._prepare(_plain_product)
        return self._advance(embedded, from_words(embedded), state, memory, products, apply_linear)

    def step_at_each(self, tokens: Tensor, state: DecoderState, memory: Memory, contexts: Tensor) -> Tensor:
        """Read one token with the entire weight of the attention on one position, and do so for each position.

        Args:
            tokens: ``[B]`` the last tokens.
            state: the state of B rows.
            memory: the memory of the same B sentences.
            contexts: ``[B, L, M]`` the context of each position, from `Attention.contexts_of_each`.

        Returns:
            Features h~ ``[B, L, F]``.
        """
        batch, length, _ = contexts.shape
        rows = torch.arange(batch, device=tokens.device).repeat_interleave(length)  # [B x L]
        embedded = self.embedding_dropout(self.embedding(tokens))[rows]
        without_coverage = replace(state, coverage=state.coverage[:, :0]).select(rows)
        from_words, products = self._prepare(_plain_product)
        features, _, _ = self._advance(
            embedded,
            from_words(embedded),
            without_coverage,
            memory,
            products,
            apply_linear,
            contexts.flatten(0, 1),
        )
        return features.view(batch, length, -1)

    def unroll(self, tgt_in: Tensor, memory: Memory, need_weights: bool = True) -> tuple[Tensor, Tensor]:
        """Read entire targets, as repeated calls of `step` would.

        Everything that does not depend on the previous step is computed for all steps at once.

        Args:
            tgt_in: ``[B, T]`` BOS and the target pieces.
            memory: the memory of the same B sentences.
            need_weights: has no effect, since this decoder always computes the weights.

        Returns:
            Features h~ ``[B, T, F]`` and attention weights ``[B, T, L]``.
        """
        state = self.start(memory)
        embedded = self.embedding_dropout(self.embedding(tgt_in))  # [B, T, E]
        if not self.attend_before_cell and not self.input_feeding and self.attention.coverage is None:
            return self._unroll_at_once(embedded, state, memory)
        from_words, products = self._prepare(DeferredLinear if torch.is_grad_enabled() else _plain_product)
        # the gradient of unbind is assembled once, that of indexing at every step
        word_gates = from_words(embedded).unbind(1)
        features, weights = [], []
        linear: ApplyLinear = DeferredLayers() if torch.is_grad_enabled() else apply_linear
        for word, gates in zip(embedded.unbind(1), word_gates, strict=True):
            feature, weight, state = self._advance(word, gates, state, memory, products, linear)
            features.append(feature)
            weights.append(weight)
        return torch.stack(features, dim=1), torch.stack(weights, dim=1)  # [B, T, F], [B, T, L]

    def _unroll_at_once(self, embedded: Tensor, state: DecoderState, memory: Memory) -> tuple[Tensor, Tensor]:
        """Run the layers over all steps at once, for the wiring `luong` without input feeding and without coverage."""
        output = embedded  # [B, T, E], then [B, T, H]
        outputs: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            if index > 0:
                output = self.layer_dropout(self._output(outputs))
            first = [
                states[index][None].to(output.dtype).contiguous() for states in (state.hidden, state.cell) if states
            ]
            run = layer_function(layer, self.recurrent_dropout)
            outputs.append(run(output, tuple(first) if isinstance(layer, nn.LSTM) else first[0])[0])
        output = self._output(outputs)
        # Training keeps everything for the gradients anyway. Otherwise, smaller parts save memory for long pairs.
        length = output.shape[1]
        positions = torch.arange(length, device=output.device)  # [T]
        at_once = length if self.training else QUERIES_AT_ONCE
        parts = (output.split(at_once, 1), embedded.split(at_once, 1), positions.split(at_once))  # type: ignore[no-untyped-call]
        attended = [self.attention(Query(*part), memory) for part in zip(*parts, strict=True)]
        context, weights = (torch.cat(pieces, dim=1) for pieces in zip(*attended, strict=True))
        return self._readout(output, context, embedded, apply_linear), weights

    def _prepare(self, make_product: "Callable[[Tensor, Tensor | None], _Product]") -> "tuple[_Product, _Products]":
        """Return the matrix products that the steps need, prepared once for an entire unrolling.

        Args:
            make_product: a function that makes a product from a weight and a bias.

        Returns:
            The product that computes the words' part of the first layer's gates, from ``[..., E]`` to
            ``[..., gates x H]``, and the products of each step.
        """
        layers = [step_weights(layer, self.recurrent_dropout) for layer in self.layers]
        words, feedback = layers[0].inputs.tensor_split([self.embedding_size], dim=1)
        products = _Products(
            make_product(feedback, None),
            [make_product(layer.inputs, layer.input_bias) for layer in layers[1:]],
            [make_product(layer.recurrent, layer.recurrent_bias) for layer in layers],
        )
        return _plain_product(words, layers[0].input_bias), products

    def _advance(
        self,
        embedded: Tensor,
        word_gates: Tensor,
        state: DecoderState,
        memory: Memory,
        products: "_Products",
        linear: ApplyLinear,
        contexts: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, DecoderState]:
        """Take one step for N rows, given the embeddings ``[N, E]`` and their part of the first layer's gates.

        If `contexts` ``[N, M]`` are given, they replace the attention's, and the returned weights are empty.

        Returns:
            Features h~ ``[N, F]``, attention weights ``[N, L]``, and the new state.
        """

        def attend(hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            if contexts is not None:
                return contexts, contexts[:, :0], state.coverage
            return self._attend(hidden, embedded, state, memory, linear)

        feedback = [state.feed] if self.input_feeding else []
        if self.attend_before_cell:
            context, weights, coverage = attend(self._output(state.hidden))
            feedback.append(context)
        gates = (
            [word_gates, products.feedback(feedback[0] if len(feedback) == 1 else torch.cat(feedback, dim=-1))]
            if feedback
            else [word_gates]
        )
        hiddens: list[Tensor] = []
        cells: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            if index > 0:
                gates = [products.inputs[index - 1](self.layer_dropout(self._output(hiddens)))]
            recurrent = products.recurrent[index](state.hidden[index])  # [N, 4H], or [N, 3H] for a GRU
            if isinstance(layer, nn.LSTM):
                hidden, cell = lstm_cell(state.cell[index], *gates, recurrent)
                cells.append(cell)
            else:
                hidden = gru_cell(sum(gates[1:], gates[0]), recurrent, state.hidden[index])
            hiddens.append(hidden)
        output = self._output(hiddens)
        if not self.attend_before_cell:
            context, weights, coverage = attend(output)
        features = self._readout(output, context, embedded, linear)
        feed = features if self.input_feeding else state.feed
        return features, weights, DecoderState(tuple(hiddens), tuple(cells), feed, coverage, state.position + 1)

    def _output(self, hiddens: Sequence[Tensor]) -> Tensor:
        """Return the output of the last given layer, which is the sum of all states if there are residual connections.

        `hiddens` are the states of the layers up to that one, the lowest first.
        """
        return sum(hiddens[1:], hiddens[0]) if self.residual else hiddens[-1]

    def _attend(
        self, query_state: Tensor, embedded: Tensor, state: DecoderState, memory: Memory, linear: ApplyLinear
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the attention of states ``[N, H]``; the K rows of a sentence are K queries of its memory.

        Returns:
            Contexts ``[N, M]``, weights ``[N, L]`` and the updated coverage ``[N, L, C]``.
        """

        def by_sentence(rows: Tensor) -> Tensor:
            return rows.view(memory.values.shape[0], -1, *rows.shape[1:])

        position = torch.full((1,), state.position, device=query_state.device)  # [1]
        tracker = self.attention.coverage
        coverage_rows = None if tracker is None else by_sentence(state.coverage)
        query = Query(by_sentence(query_state), by_sentence(embedded), position, coverage_rows, linear)
        context, weights = self.attention(query, memory)  # [B, K, M], [B, K, L]
        if tracker is None or coverage_rows is None:
            return context.flatten(0, 1), weights.flatten(0, 1), state.coverage
        after = tracker.advance(coverage_rows, weights, query.state, memory)
        return context.flatten(0, 1), weights.flatten(0, 1), after.flatten(0, 1)

    def _readout(self, hidden: Tensor, context: Tensor, embedded: Tensor, linear: ApplyLinear) -> Tensor:
        """Return h~."""
        parts = [hidden, context, embedded] if self.attend_before_cell else [hidden, context]
        return torch.tanh(linear(self.readout_layer, torch.cat(parts, dim=-1)))  # [N, F]


_Product = Callable[[Tensor], Tensor]


def _plain_product(weight: Tensor, bias: Tensor | None) -> _Product:
    """Return the function x Wᵀ + b without deferred gradients."""
    return lambda x: functional.linear(x, weight, bias)


@dataclass(frozen=True)
class _Products:
    """The matrix products of the recurrent layers in a step, plain or with weight gradients deferred to the last step.

    Attributes:
        feedback: for the first layer, the product of its weights with h~ (input feeding) and the context (`bahdanau`).
        inputs: for each layer above the first, the product of its weights with its input.
        recurrent: for each layer, the product of its recurrent weights with its own state.
    """

    feedback: _Product
    inputs: list[_Product]
    recurrent: list[_Product]
