"""Beam search for translations that must contain given phrases (Post and Vilar 2018, dynamic beam allocation)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest

import torch
from torch import Tensor

from nmt.data.tokenizer import EOS, Tokenizer
from nmt.decoding.beam import Beams, SearchTask
from nmt.decoding.phrases import Vocabulary, count_phrase, ends_inside_a_character, takes_no_space
from nmt.decoding.rules import Rules, Scoring
from nmt.decoding.search import Hypothesis, SearchMemory, SearchModel


@dataclass(frozen=True)
class Progress:
    """How much of the required phrases a hypothesis has generated.

    Attributes:
        text: the text of its pieces.
        met: for each phrase, whether the text has it.
        begun: for each phrase that the last pieces have begun, its remaining pieces and the number already generated.
        done: the number of pieces of the phrases that are met, plus those generated of the begun phrase that has most.
    """

    text: str
    met: tuple[bool, ...]
    begun: tuple[tuple[tuple[int, ...], int], ...] = ()
    done: int = 0

    @property
    def missing(self) -> int:
        """The number of phrases that the text does not have yet."""
        return self.met.count(False)


class RequiredPhrases:
    """The phrases that one sentence's translation must have."""

    def __init__(self, phrases: Sequence[Sequence[str]], tokenizer: Tokenizer, vocabulary: Vocabulary):
        """Take the phrases.

        Args:
            phrases: the alternatives of each phrase, one of which is enough.
            tokenizer: the tokenizer that splits them into pieces.
            vocabulary: the target pieces of the tokenizer.
        """
        self.phrases, self.vocabulary = [tuple(each) for each in phrases], vocabulary
        # A phrase that is given for the second time needs a second occurrence, and so on.
        self.needed = [self.phrases[: at + 1].count(each) for at, each in enumerate(self.phrases)]
        self.lengths = [max(len(tokenizer.encode_tgt(one).ids) for one in each) for each in self.phrases]

        @cache
        def spelled(phrase: str, before: str) -> tuple[int, ...]:
            encoded = tokenizer.encode_tgt(before + phrase)
            first = next((at for at, (start, _) in enumerate(encoded.offsets) if start >= len(before)), None)
            # The phrase cannot be spelled after this text if no piece begins exactly where the phrase begins.
            whole = first is not None and encoded.offsets[first][0] == len(before)
            return tuple(encoded.ids[first:]) if whole else ()

        self._spelled = spelled

    @property
    def pieces(self) -> int:
        """The total number of pieces of all phrases."""
        return sum(self.lengths)

    def start(self) -> Progress:
        """Return the progress before the first piece."""
        return Progress("", (False,) * len(self.phrases))

    def after(self, progress: Progress, piece: int) -> Progress:
        """Return the progress after one more piece."""
        text = self.vocabulary.joined(progress.text, piece)
        met = tuple(
            sum(count_phrase(text, one) for one in each) >= needed
            for each, needed in zip(self.phrases, self.needed, strict=True)
        )
        open_ones = [*progress.begun, *((pieces, 0) for pieces in self._beginnings(progress))]
        begun = tuple((pieces[1:], done + 1) for pieces, done in open_ones if len(pieces) > 1 and pieces[0] == piece)
        done = sum(length for length, is_met in zip(self.lengths, met, strict=True) if is_met)
        return Progress(text, met, begun, done + max((done for _, done in begun), default=0))

    def next_pieces(self, progress: Progress) -> set[int]:
        """Return the pieces that continue a begun phrase or, if none is begun, the pieces that begin one."""
        pieces = [left for left, _ in progress.begun] or self._beginnings(progress)
        return {left[0] for left in pieces}

    def _beginnings(self, progress: Progress) -> list[tuple[int, ...]]:
        """Return every spelling that can follow the text of each phrase that the text does not have yet."""
        found = []
        if ends_inside_a_character(progress.text):
            return []
        for each, is_met in zip(self.phrases, progress.met, strict=True):
            for phrase in () if is_met else each:
                found.append(self._spelled(phrase, ""))
                if takes_no_space(progress.text, phrase):
                    found.append(self._spelled(phrase, progress.text[-1]))
        return [pieces for pieces in found if pieces]


def constrained_beam_search(
    model: SearchModel,
    memory: SearchMemory,
    beam_size: int,
    rules: Rules,
    scoring: Scoring,
    required: Sequence[RequiredPhrases],
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """Beam search for translations that have all required phrases; see `beam_search`.

    Each sentence has `beam_size` rows, plus one row for each required piece. Hypotheses are grouped by how much of the
    phrases they have, and the groups take rows in turn, each with its best hypotheses first. So hypotheses that already
    have a phrase, and are less likely because of it, do not lose their rows to hypotheses that have none. If the rules
    allow no translation with all phrases, the translations that lack the fewest phrases come first.

    Args:
        model: the model to search.
        memory: B encoded sentences.
        beam_size: the number of rows, without those for required pieces.
        rules: the rules for the B sentences.
        scoring: how finished hypotheses are ranked.
        required: the phrases of the B sentences.
        n_best: how many hypotheses to return for each sentence, at most `beam_size`.

    Returns:
        For each sentence its finished hypotheses, best first, at most `n_best`.
    """
    beams = _ConstrainedBeams(SearchTask(model, memory, rules, scoring, n_best), beam_size, required)
    while beams.advance():
        pass
    return beams.results()


class _ConstrainedBeams(Beams):
    """Beams that divide their rows among hypotheses by their progress with the required phrases."""

    def __init__(self, task: SearchTask, beam_size: int, required: Sequence[RequiredPhrases]):
        sizes = [beam_size + each.pieces for each in required]
        super().__init__(task, max(sizes))
        self.slots = torch.tensor(sizes, device=self.slots.device)
        self.required, self.beam_size = required, beam_size
        self.progress: list[list[Progress]] = [[each.start()] for each in required]  # of each sentence's filled rows

    def advance(self) -> bool:
        before = self.sentences
        goes_on = super().advance()
        left = set(self.sentences)
        self.progress = [rows for sentence, rows in zip(before, self.progress, strict=True) if sentence in left]
        return goes_on

    def missing(self, sentence: int, row: int) -> int:
        return self.progress[sentence][row].missing

    def choose(self, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count, before = self.tokens.shape
        log_probs = log_probs.view(count, before, -1)
        length = self.ids.shape[-1] + 1  # counting the piece to come
        for sentence, rows in enumerate(self.progress):
            if length < self.max_lengths[self.sentences[sentence]]:  # at the limit there is only EOS
                incomplete = [row for row, progress in enumerate(rows) if progress.missing]
                log_probs[sentence, incomplete, EOS] = -torch.inf
        _, parents, tokens = super().candidates(log_probs.flatten(0, 1))
        best_of_rows = log_probs.max(dim=-1).indices.tolist()
        slots = self.slots.tolist()
        chosen: list[list[tuple[int, int]]] = []
        progress: list[list[Progress]] = []
        pruned: list[float] = []
        for sentence, rows in enumerate(self.progress):
            phrases = self.required[self.sentences[sentence]]
            most = self.beam_size + phrases.pieces + 1  # independent of the other sentences in the batch
            wanted = set(zip(parents[sentence, :most].tolist(), tokens[sentence, :most].tolist(), strict=True))
            wanted |= set(enumerate(best_of_rows[sentence]))
            for row, one in enumerate(rows):
                wanted |= {(row, piece) for piece in phrases.next_pieces(one)}
            kept, left_out = self._share_out(sentence, phrases, sorted(wanted), log_probs[sentence], slots[sentence])
            pruned.append(left_out)
            chosen.append([candidate for candidate, _ in kept])
            progress.append([after for _, after in kept])
        width = max(1, *map(len, chosen))
        rows_of, pieces_of = (
            torch.tensor([[each[at] for each in few] + [0] * (width - len(few)) for few in chosen]).to(tokens.device)
            for at in (0, 1)
        )
        here = torch.arange(count, device=tokens.device)[:, None]
        best = self.log_prob.gather(1, rows_of) + log_probs[here, rows_of, pieces_of]
        filled = torch.tensor([len(few) for few in chosen], device=tokens.device)
        best = best.masked_fill(torch.arange(width, device=tokens.device) >= filled[:, None], -torch.inf)
        self.progress = progress
        return best, rows_of, pieces_of, best.new_tensor(pruned)

    def _share_out(
        self,
        sentence: int,
        phrases: RequiredPhrases,
        candidates: list[tuple[int, int]],
        log_probs: Tensor,
        slots: int,
    ) -> tuple[list[tuple[tuple[int, int], Progress]], float]:
        """Choose the candidates that get a row.

        Args:
            sentence: the position of the sentence in the batch.
            phrases: the phrases that its translation must have.
            candidates: pairs of a row and the piece that may follow it.
            log_probs: ``[K, V]``, the log-probabilities of the pieces after each row.
            slots: the number of rows.

        Returns:
            The chosen candidates, each with its progress, and the best total of the other candidates.
        """
        rows, pieces = (torch.tensor(side, device=log_probs.device) for side in zip(*candidates, strict=True))
        totals = (self.log_prob[sentence][rows] + log_probs[rows, pieces]).tolist()
        ranked = sorted((-total, candidate) for total, candidate in zip(totals, candidates, strict=True))
        by_progress: dict[tuple[int, int], list[tuple[float, tuple[int, int], Progress]]] = {}
        for cost, (row, piece) in ranked:
            if cost == torch.inf:
                continue
            parent = self.progress[sentence][row]
            after = parent if piece == EOS else phrases.after(parent, piece)
            by_progress.setdefault((-after.missing, after.done), []).append((cost, (row, piece), after))
        groups = [by_progress[key] for key in sorted(by_progress, reverse=True)]
        in_turn = [one for round_ in zip_longest(*groups) for one in round_ if one is not None]
        pruned = max((-cost for cost, _, _ in in_turn[slots:]), default=-torch.inf)
        return [(candidate, after) for _, candidate, after in in_turn[:slots]], pruned
