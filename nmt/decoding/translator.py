"""The translator from text to text: it batches lines, searches, detokenises, and keeps each translation's attention."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from nmt.config import DecodingConfig
from nmt.data.batching import batch_of, cut_batches
from nmt.data.tokenizer import Encoded, Tokenizer
from nmt.decoding.beam import beam_search
from nmt.decoding.constrained import RequiredPhrases, constrained_beam_search
from nmt.decoding.diverse import diverse_beam_search
from nmt.decoding.ensemble import Ensemble
from nmt.decoding.forced import FORCED_TOKENS, ForcedScore, score_pairs, with_posteriors
from nmt.decoding.mbr import by_agreement
from nmt.decoding.phrases import Vocabulary, phrase_constraints
from nmt.decoding.request import ConstraintPieces, Request, constraint_pieces, hidden_pieces, requests_of
from nmt.decoding.reranking import by_backward
from nmt.decoding.rules import NEW_WORD, Rules, Scoring
from nmt.decoding.safeguards import CutLines, in_halves, limited, refuse_longer_target, refuse_not_finite
from nmt.decoding.search import Hypothesis, greedy, sample
from nmt.decoding.translation import Translation
from nmt.decoding.unknown import replace_unknown
from nmt.decoding.word_aligner import WordAligner
from nmt.errors import NOT_FINITE, DataError, ModelError
from nmt.model.seq2seq import Seq2Seq, evaluating
from nmt.quiet import no_bar


@dataclass(frozen=True)
class _Line:
    """A line to translate: its number, for messages, its pieces, and the constraints on its translation."""

    number: int
    source: Encoded
    constraints: ConstraintPieces


class Translator:
    """A trained model with its tokenizer, ready for raw text."""

    def __init__(
        self,
        model: Seq2Seq | Ensemble,
        tokenizer: Tokenizer,
        settings: DecodingConfig,
        device: torch.device,
        aligner: WordAligner | None = None,
        backward: "Translator | None" = None,
    ):
        """Take the parts. Each call puts the model in evaluation mode and restores its previous mode at the end.

        Args:
            model: a model on `device`.
            tokenizer: the tokenizer that the model was trained with.
            settings: the settings of search.
            device: where to compute, in the model's own precision. In float32, results do not depend on the batch.
            aligner: the word aligner that alignments are read from; None to read them from the attention.
            backward: a model of the other direction, which re-ranks the translations found; None for none.
        """
        self.model, self.tokenizer, self.settings, self.device = model, tokenizer, settings, device
        self.at_input = settings.alignment_at == "input"
        self.aligner = aligner if settings.alignment_from in ("auto", "aligner") else None
        self.posterior = settings.alignment_from == "posterior"
        self.backward = backward

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """The target pieces, as the text that they spell."""
        return Vocabulary(self.tokenizer.tgt_pieces)

    def translate(
        self,
        lines: Sequence[str | Request],
        first_line: int = 1,
        progress: bool = False,
        n_best: int = 1,
        cut: CutLines | None = None,
        done: Callable[[int], object] | None = None,
    ) -> list[Translation]:
        """Translate lines in batches of similar length and return one translation per line, in order.

        The translation of an empty line is empty.

        Args:
            lines: source texts, or requests that also constrain the translation.
            first_line: the number of the first line, for warnings and as part of the random seed of each line.
            progress: whether to draw a progress bar, if standard error is a terminal.
            n_best: translations per line; all but the best are in its `others`. The beam is at least this large.
            cut: counts the lines that are cut in several calls; the caller then calls its `sum_up`. None to count the
                lines of this call only.
            done: called after each batch with its number of lines; empty lines are in no batch.

        Raises:
            DataError: for a prefix or phrase that the model cannot write, naming its line.
            ModelError: if the model gives no finite probabilities.
        """
        given = self._lines(requests_of(lines), first_line, cut)
        if any(line.constraints.require for line in given):
            self._refuse_required()
        ranked = 0 if self.backward is None else self.settings.beam_size
        searched = max(n_best, self.settings.mbr.candidates, ranked)
        results: list[Translation | None] = [None] * len(given)
        order = sorted((i for i, line in enumerate(given) if line.source.ids), key=lambda i: len(given[i].source.ids))
        with _bar(len(order), "translating", progress) as bar:
            for chosen in self._batches(order, given):
                batch = [given[i] for i in chosen]
                found = in_halves(lambda part: self._search(part, searched), batch)
                refuse_not_finite(found)
                if self.posterior:
                    sources, hidden = [line.source for line in batch], [line.constraints.hidden for line in batch]
                    found = with_posteriors(self.model, self.device, sources, found, hidden)
                every = [
                    [self._translation(line, one) for one in hypotheses]
                    for line, hypotheses in zip(batch, found, strict=True)
                ]
                for index, candidates in zip(chosen, self._ranked(every), strict=True):
                    first, *others = candidates[:n_best]
                    results[index] = replace(first, others=tuple(others))
                bar.update(len(chosen))
                if done is not None:
                    done(len(chosen))
        return [
            result or self._empty(line.source, self.tokenizer.encode_tgt(""), line.constraints)
            for result, line in zip(results, given, strict=True)
        ]

    def _lines(self, requests: Sequence[Request], first_line: int, cut: CutLines | None) -> list[_Line]:
        sources = self._sources([request.text for request in requests], first_line, cut)
        limits = self.settings.max_tgt_length, self.model.max_tgt_length
        return [
            _Line(number, source, constraint_pieces(request, number, self.tokenizer, *limits))
            for number, (source, request) in enumerate(zip(sources, requests, strict=True), start=first_line)
        ]

    def _refuse_required(self) -> None:
        """Refuse required phrases if the settings choose sampling or several beams."""
        if self.settings.sampling.enabled:
            raise DataError("required phrases need search; with decoding.sampling translations are drawn at random")
        if self.settings.diversity.groups > 1:
            raise DataError("required phrases are distributed over one beam; set decoding.diversity.groups to 1")

    def _ranked(self, found: Sequence[Sequence[Translation]]) -> Sequence[Sequence[Translation]]:
        """Return the candidates of each line, re-ranked if there is a backward model or minimum Bayes risk decoding."""
        if self.backward is not None:
            return by_backward(found, self.backward, self.settings.backward_weight)
        return [by_agreement(candidates, self.settings) for candidates in found]

    def fits(self, src: str, tgt: str) -> bool:
        """Return whether a pair of texts is short enough for `force`, which cuts or refuses longer texts."""
        src_limit = min(self.settings.max_src_length, self.model.max_src_length or math.inf)
        tgt_limit = min(self.settings.max_tgt_length, (self.model.max_tgt_length or math.inf) - 1)
        return (
            len(self.tokenizer.encode_src(src).ids) <= src_limit
            and len(self.tokenizer.encode_tgt(tgt).ids) <= tgt_limit
        )

    def _batches(self, order: list[int], given: Sequence[_Line]) -> Iterator[list[int]]:
        """Yield the indices of each batch's lines; lines with required phrases are in batches of their own."""
        for is_constrained in (False, True):
            group = [i for i in order if bool(given[i].constraints.require) == is_constrained]
            for start in range(0, len(group), self.settings.batch_size):
                yield group[start : start + self.settings.batch_size]

    def _translation(self, line: _Line, found: Hypothesis) -> Translation:
        target = self.tokenizer.decode_tgt(found.ids)
        if self.settings.unk == "replace":
            target = replace_unknown(target, line.source, found.weights[1:] if self.at_input else found.weights)
        return Translation(
            line.source,
            target,
            found.log_prob,
            found.score,
            found.token_log_probs,
            found.proven,
            found.weights,
            self.read_from,
            self.at_input,
            self.aligner,
            phrases=phrase_constraints(target.text, line.constraints.require, line.constraints.forbid),
            gap=found.gap,
        )

    @property
    def read_from(self) -> str:
        """A description of the translations' weights, for display."""
        return f"posterior {self.model.read_from}" if self.posterior else self.model.read_from

    def with_links(self, translations: Sequence[Translation]) -> list[Translation]:
        """Return the same translations with the word aligner's links, which are computed for all of them together.

        Args:
            translations: translations by this translator; their `others` get links too.
        """
        if self.aligner is None:
            return list(translations)
        flat = [each for first in translations for each in (first, *first.others)]
        found = iter(self.aligner.word_links([(each.src.text, each.tgt.text) for each in flat]))
        return [
            replace(first, links=next(found), others=tuple(replace(other, links=next(found)) for other in first.others))
            for first in translations
        ]

    def force(self, pairs: Sequence[tuple[str, str]], first_line: int = 1, progress: bool = False) -> list[Translation]:
        """Score given translations instead of searching; matrices and log-probabilities are computed as in search.

        Args:
            pairs: source and target texts.
            first_line: the number of the first pair, for messages.
            progress: whether to draw a progress bar, if standard error is a terminal.

        Raises:
            DataError: for a target that is too long for the settings or the model, naming its line.
            ModelError: if a log-probability is not a number.
        """
        sources = self._sources([src for src, _ in pairs], first_line)
        targets = [self.tokenizer.encode_tgt(tgt) for _, tgt in pairs]
        for line, target in enumerate(targets, start=first_line):
            refuse_longer_target(len(target.ids), line, self.settings.max_tgt_length, self.model.max_tgt_length)
        results: list[Translation | None] = [None] * len(pairs)
        costs = np.array(
            [max(len(s.ids), len(t.ids) + 1) for s, t in zip(sources, targets, strict=True)], dtype=np.int64
        )
        order = np.array([i for i in np.argsort(costs, kind="stable") if sources[i].ids], dtype=np.int64)
        with _bar(len(order), "aligning", progress) as bar:
            for chosen in cut_batches(order, costs, FORCED_TOKENS, "tokens"):
                scored = in_halves(lambda part: self._score([(sources[i], targets[i]) for i in part]), chosen.tolist())
                for index, (log_probs, score, weights) in zip(chosen, scored, strict=True):
                    total = math.fsum(log_probs)
                    if math.isnan(total):
                        raise ModelError(NOT_FINITE)
                    results[index] = Translation(
                        sources[index],
                        targets[index],
                        total,
                        score,
                        log_probs,
                        False,
                        weights,
                        self.read_from,
                        self.at_input,
                        self.aligner,
                    )
                bar.update(len(chosen))
        return [
            result or self._empty(source, target)
            for result, source, target in zip(results, sources, targets, strict=True)
        ]

    @property
    def _scoring(self) -> Scoring:
        return Scoring(self.settings.length_penalty, self.settings.coverage_penalty)

    def _search(self, lines: Sequence[_Line], n_best: int) -> list[list[Hypothesis]]:
        """Return the n best hypotheses of each line. Either all lines have required phrases, or none does."""
        settings = self.settings
        sources, constraints = [line.source for line in lines], [line.constraints for line in lines]
        batch = batch_of([(source.ids, []) for source in sources]).to(self.device)
        required = [
            RequiredPhrases(each.require, self.tokenizer, self.vocabulary) for each in constraints if each.require
        ]
        rules = self._rules([len(source.ids) for source in sources], constraints, [each.pieces for each in required])
        with evaluating(self.model):
            memory = self.model.encode(batch)
            if any(each.hidden for each in constraints):
                memory = memory.without(hidden_pieces(sources, [each.hidden for each in constraints]).to(self.device))
            if settings.sampling.enabled:
                draws = [self._draw(memory, rules, lines, number) for number in range(n_best)]
                return [sorted(found, key=lambda one: -one.score) for found in zip(*draws, strict=True)]
            beam = max(settings.beam_size, n_best)
            if required:
                return constrained_beam_search(self.model, memory, beam, rules, self._scoring, required, n_best)
            if settings.diversity.groups > 1:
                groups = settings.diversity.groups
                beam += -beam % groups  # round up, since `n_best` may not be a multiple of `groups`
                options = groups, settings.diversity.strength
                return diverse_beam_search(self.model, memory, beam, rules, self._scoring, *options, n_best)
            if beam == 1:
                return [[one] for one in greedy(self.model, memory, rules, self._scoring)]
            return beam_search(self.model, memory, beam, rules, self._scoring, n_best)

    def _draw(self, memory: Any, rules: Rules, lines: Sequence[_Line], number: int) -> list[Hypothesis]:
        """Return the `number`-th sample of each line."""
        sampling = self.settings.sampling
        seeds = [((sampling.seed * 1_000_003 + line.number) * 1009 + number) % 2**63 for line in lines]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        options = sampling.temperature, sampling.top_k, sampling.top_p
        return sample(self.model, memory, rules, self._scoring, generators, *options)

    def _rules(self, lengths: list[int], constraints: list[ConstraintPieces], required: list[int]) -> Rules:
        """Return the rules for sources of `lengths` pieces.

        `required` is the number of required pieces of each source, or is empty.
        """
        settings = self.settings
        positions = self.model.max_tgt_length or math.inf
        longest = [settings.max_length_ratio * length + settings.max_length_extra for length in lengths]
        prefixes = [each.prefix for each in constraints]
        return Rules.of(
            [
                int(min(most + more, positions))
                for most, more in zip(longest, required or [0] * len(constraints), strict=True)
            ],
            [max(settings.min_length, int(settings.min_length_ratio * length)) for length in lengths],
            prefixes,
            settings.unk == "forbid",
            settings.no_repeat_ngram,
            torch.device(self.device),
            self.tokenizer.begins_word if any(NEW_WORD in prefix for prefix in prefixes) else None,
            [each.forbid for each in constraints],
            self.vocabulary if any(each.forbid for each in constraints) else None,
            settings.repetition_penalty,
        )

    def _score(self, pairs: Sequence[tuple[Encoded, Encoded]]) -> list[ForcedScore]:
        return score_pairs(self.model, self.device, pairs, self._scoring, self.posterior)

    def _empty(self, source: Encoded, target: Encoded, constraints: ConstraintPieces | None = None) -> Translation:
        """Return the translation of a line without pieces, for which any target but an empty one is impossible."""
        nothing = np.zeros((len(target.ids) + 1, len(source.ids)), dtype=np.float32)
        log_prob = -math.inf if target.ids else 0.0
        per_token = [log_prob] * len(nothing)
        asked = ([], []) if constraints is None else (constraints.require, constraints.forbid)
        common = (source, target, log_prob, log_prob, per_token, False, nothing, self.read_from)
        return Translation(*common, aligner=self.aligner, phrases=phrase_constraints(target.text, *asked))

    def _sources(self, lines: Sequence[str], first_line: int, cut: CutLines | None = None) -> list[Encoded]:
        """Return source texts as pieces; `cut` records those that are cut."""
        told = cut or CutLines()
        limit, positions = self.settings.max_src_length, self.model.max_src_length
        encoded = map(self.tokenizer.encode_src, lines)
        sources = [limited(source, line, limit, positions, told) for line, source in enumerate(encoded, first_line)]
        if cut is None:
            told.sum_up()
        return sources


def _bar(total: int, what: str, progress: bool) -> "tqdm[Any]":
    """Return a progress bar on standard error, disabled if none is wanted or standard error is not a terminal."""
    return tqdm(total=total, desc=what, unit="line", leave=False, disable=no_bar() if progress else True)
