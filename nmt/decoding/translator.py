"""Text in, text out: batches lines, searches, detokenises, and keeps every translation's attention."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nmt.alignment.matrix import AlignmentMatrix, Level, piece_matrix, word_matrix
from nmt.config import DecodingConfig
from nmt.data.batching import batch_of, cut_batches
from nmt.data.tokenizer import Encoded, Tokenizer
from nmt.decoding.search import Hypothesis, beam_search, greedy, length_penalty
from nmt.model.seq2seq import Seq2Seq

log = logging.getLogger("nmt")
FORCED_TOKENS = 4096  # padded tokens on the longer side in a batch of forced pairs


@dataclass(frozen=True)
class Translation:
    """A line and its translation.

    Attributes:
        src: the source text as pieces.
        tgt: the target text as pieces.
        log_prob: of the target and EOS, in nats.
        score: `log_prob` over the length penalty.
        weights: attention ``[target pieces + 1, source pieces]``; the last row predicted EOS. Width 0 for a model
            without attention.
        read_from: which of the model's weights these are, for a person.
    """

    src: Encoded
    tgt: Encoded
    log_prob: float
    score: float
    weights: NDArray[np.float32]
    read_from: str = "attention"

    def alignment(self, level: Level = "words", keep_eos: bool = False) -> AlignmentMatrix | None:
        """The matrix; None for a model without attention.

        Args:
            level: `words`, `tokens` (what white space separates) or `pieces`.
            keep_eos: whether the row that predicted EOS stays.
        """
        if self.src.ids and self.weights.shape[1] == 0:
            return None
        matrix = (
            piece_matrix(self.weights, self.src.pieces, self.tgt.pieces, keep_eos)
            if level == "pieces"
            else word_matrix(
                self.weights, self.src.text, self.src.offsets, self.tgt.text, self.tgt.offsets, keep_eos, level
            )
        )
        return replace(matrix, read_from=self.read_from)


class Translator:
    """A trained model with its tokenizer, ready for raw text."""

    def __init__(self, model: Seq2Seq, tokenizer: Tokenizer, settings: DecodingConfig, device: torch.device):
        """Take the parts; the model is put in evaluation mode at each call and left as it was.

        Args:
            model: on `device`.
            tokenizer: that the model was trained with.
            settings: of the search.
            device: where to compute; always in float32, so that batches do not matter.
        """
        self.model, self.tokenizer, self.settings, self.device = model, tokenizer, settings, device

    def translate(self, lines: Sequence[str], first_line: int = 1, progress: bool = False) -> list[Translation]:
        """Translate lines in batches of similar length; one translation per line, in order, "" for an empty line.

        Args:
            lines: source texts.
            first_line: the number of the first one, for warnings.
            progress: whether a bar is drawn, if standard error is a terminal.
        """
        sources = [self._limited(self.tokenizer.encode_src(line), first_line + at) for at, line in enumerate(lines)]
        results: list[Translation | None] = [None] * len(lines)
        order = sorted((i for i, source in enumerate(sources) if source.ids), key=lambda i: len(sources[i].ids))
        with _bar(len(order), "translating", progress) as bar:
            for start in range(0, len(order), self.settings.batch_size):
                chosen = order[start : start + self.settings.batch_size]
                for index, found in zip(chosen, self._search([sources[i] for i in chosen]), strict=True):
                    target = self.tokenizer.decode_tgt(found.ids)
                    results[index] = Translation(
                        sources[index], target, found.log_prob, found.score, found.weights, self.model.read_from
                    )
                bar.update(len(chosen))
        return [result or _empty(source) for result, source in zip(results, sources, strict=True)]

    def force(self, pairs: Sequence[tuple[str, str]], first_line: int = 1, progress: bool = False) -> list[Translation]:
        """Score given translations instead of searching; matrices and log-probabilities are those of search.

        Args:
            pairs: source and target texts.
            first_line: the number of the first pair, for warnings.
            progress: whether a bar is drawn, if standard error is a terminal.
        """
        sources = [self._limited(self.tokenizer.encode_src(src), first_line + at) for at, (src, _) in enumerate(pairs)]
        targets = [self.tokenizer.encode_tgt(tgt) for _, tgt in pairs]
        results: list[Translation | None] = [None] * len(pairs)
        costs = np.array(
            [max(len(s.ids), len(t.ids) + 1) for s, t in zip(sources, targets, strict=True)], dtype=np.int64
        )
        order = np.array([i for i in np.argsort(costs, kind="stable") if sources[i].ids], dtype=np.int64)
        with _bar(len(order), "aligning", progress) as bar:
            for chosen in cut_batches(order, costs, FORCED_TOKENS, "tokens"):
                scored = self._score([(sources[i], targets[i]) for i in chosen])
                for index, (log_prob, weights) in zip(chosen, scored, strict=True):
                    penalty = length_penalty(len(targets[index].ids) + 1, self.settings.length_penalty)
                    results[index] = Translation(
                        sources[index], targets[index], log_prob, log_prob / penalty, weights, self.model.read_from
                    )
                bar.update(len(chosen))
        return [
            result or _empty(source, target) for result, source, target in zip(results, sources, targets, strict=True)
        ]

    def _search(self, sources: list[Encoded]) -> list[Hypothesis]:
        settings = self.settings
        batch = batch_of([(source.ids, []) for source in sources]).to(self.device)
        places = self.model.max_tgt_length or math.inf
        max_lengths = [
            int(min(settings.max_length_ratio * len(source.ids) + settings.max_length_extra, places))
            for source in sources
        ]
        with _evaluating(self.model):
            memory = self.model.encode(batch.src_ids, batch.src_mask)
            if settings.beam_size == 1:
                return greedy(self.model, memory, settings.min_length, max_lengths, settings.length_penalty)
            found = beam_search(
                self.model, memory, settings.beam_size, settings.min_length, max_lengths, settings.length_penalty
            )
        return [hypotheses[0] for hypotheses in found]

    def _score(self, pairs: list[tuple[Encoded, Encoded]]) -> list[tuple[float, NDArray[np.float32]]]:
        batch = batch_of([(source.ids, target.ids) for source, target in pairs]).to(self.device)
        with _evaluating(self.model):
            features, weights = self.model(batch)
            log_probs = self.model.project(features).float().log_softmax(dim=-1)
            gold = log_probs.gather(-1, batch.tgt_out[..., None]).squeeze(-1)
            totals = gold.masked_fill(~batch.tgt_mask, 0.0).sum(1).tolist()
        matrices = _trim(weights, [len(s.ids) for s, _ in pairs], [len(t.ids) + 1 for _, t in pairs])
        return list(zip(totals, matrices, strict=True))

    def _limited(self, source: Encoded, line: int) -> Encoded:
        """A source that is too long is cut, with a warning that names the line."""
        limit, why = self.settings.max_src_length, "decoding.max_src_length"
        places = self.model.max_src_length
        if places is not None and places < limit:
            limit, why = places, "the model has places for no more"
        if len(source.ids) <= limit:
            return source
        log.warning("line %d has %d pieces; only the first %d are translated (%s)", line, len(source.ids), limit, why)
        text = source.text[: source.offsets[limit - 1][1]]
        return Encoded(text, source.ids[:limit], source.pieces[:limit], source.offsets[:limit])


class _evaluating:
    """Evaluation mode without gradients; the mode the model was in is restored."""

    def __init__(self, model: Seq2Seq):
        self.model, self.no_grad = model, torch.inference_mode()

    def __enter__(self) -> None:
        self.was_training = self.model.training
        self.model.eval()
        self.no_grad.__enter__()

    def __exit__(self, *error: object) -> None:
        self.no_grad.__exit__(*error)
        self.model.train(self.was_training)


def _bar(total: int, what: str, progress: bool) -> "tqdm[Any]":
    """A bar on standard error if it is a terminal and one is wanted."""
    return tqdm(total=total, desc=what, unit="line", leave=False, disable=None if progress else True)


def _trim(weights: Tensor, src_lengths: list[int], tgt_lengths: list[int]) -> list[NDArray[np.float32]]:
    """Cut each sentence's own matrix out of the padded batch ``[B, T, S]``."""
    array = weights.float().cpu().numpy()
    return [
        array[i, :rows, :columns].copy() for i, (rows, columns) in enumerate(zip(tgt_lengths, src_lengths, strict=True))
    ]


def _empty(source: Encoded, target: Encoded | None = None) -> Translation:
    """The translation of a line without pieces."""
    target = target or Encoded("", [], [], [])
    return Translation(source, target, 0.0, 0.0, np.zeros((len(target.ids) + 1, len(source.ids)), dtype=np.float32))
