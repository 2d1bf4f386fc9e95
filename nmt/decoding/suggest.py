"""Suggestions for the next word of a translation, given its beginning."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nmt.data.batching import batch_of
from nmt.data.tokenizer import BOS, EOS, PAD, UNK
from nmt.decoding.phrases import Vocabulary
from nmt.decoding.request import Span, hidden_pieces, prefix_pieces
from nmt.decoding.safeguards import CutLines, limited
from nmt.decoding.translator import Translator
from nmt.errors import DataError
from nmt.model.memory import Memory
from nmt.model.seq2seq import evaluating

_LONGEST_WORD = 20  # pieces
_NEVER = [PAD, BOS, UNK]  # pieces that no word contains


@dataclass(frozen=True)
class Suggestion:
    """A word that could come next.

    Attributes:
        word: the word; "" for the end of the translation.
        probability: the probability that the model gives it after the beginning, 0 to 1.
        has_space: whether a space separates it from the beginning.
    """

    word: str
    probability: float
    has_space: bool = False


def next_words(
    translator: Translator, line: str, prefix: str, count: int = 8, look_at: Span | None = None
) -> list[Suggestion]:
    """Return words that could follow the beginning of a translation, the likeliest first.

    Words are those of `nmt words`, except that a piece may hold several of them. Each of the likeliest first pieces is
    continued with the likeliest next pieces until the word ends. The probability of a word is the product of the
    probabilities of its pieces and of the probability that the word ends there. So the probabilities of all possible
    words sum to at most 1.

    Args:
        translator: the translator of the model.
        line: the source text.
        prefix: the beginning of the translation, up to the end of a word.
        count: the maximum number of words to return.
        look_at: characters of the source text that the attention may look at for this word; None for all.

    Raises:
        DataError: for a beginning that the model cannot write, or a span without words.
    """
    limits = translator.settings.max_src_length, translator.model.max_src_length
    source = limited(translator.tokenizer.encode_src(line), 1, *limits, CutLines())
    if not source.ids:
        return []
    begun = [piece for piece in prefix_pieces(prefix, 1, translator.tokenizer) if piece >= 0]
    positions = translator.model.max_tgt_length
    if positions is not None and len(begun) + _LONGEST_WORD + 1 > positions:
        raise DataError(
            f"the beginning has {len(begun)} pieces; with another word, it could have more than the {positions} pieces "
            f"that the model has positions for"
        )
    device = translator.device
    model: Any = translator.model
    vocabulary = translator.vocabulary
    with evaluating(model):
        memory = model.encode(batch_of([(source.ids, [])]).to(device))
        at_word = memory
        if look_at is not None:
            at_word = memory.without(~hidden_pieces([source], [[look_at]]).to(device))
        state = model.start(memory)
        *before, last = [BOS, *begun]
        for piece in before:
            _, _, state = model.step(torch.tensor([piece], device=device), state, memory)
        log_probs, _, state = model.step(torch.tensor([last], device=device), state, at_word)
        allowed = torch.ones(log_probs.shape[1], dtype=torch.bool, device=device)
        if begun:
            allowed = _ends_before(vocabulary, vocabulary.text(begun), device)
        allowed[_NEVER] = False
        first = log_probs[0].masked_fill(~allowed, -torch.inf).topk(min(count, int(allowed.sum())))
        state = state.select(torch.zeros_like(first.indices))
        words, totals = _to_the_end(model, first.indices, first.values, state, at_word, vocabulary)
    found: dict[tuple[str, bool], float] = {}
    for row, total in zip(words, totals.exp().tolist(), strict=True):
        word = "" if row == [EOS] else translator.tokenizer.decode_tgt(row).text
        one = word, vocabulary.texts[row[0]].startswith(" ")
        found[one] = found.get(one, 0.0) + total
    ordered = sorted(found.items(), key=lambda each: -each[1])
    return [Suggestion(word, total, has_space) for (word, has_space), total in ordered]


def _to_the_end(
    model: Any, tokens: Tensor, log_probs: Tensor, state: Any, memory: Memory, vocabulary: Vocabulary
) -> tuple[list[list[int]], Tensor]:
    """Continue words by their likeliest pieces until each of them ends.

    Args:
        model: in evaluation mode.
        tokens: [N] the first piece of each word.
        log_probs: [N] their log-probabilities.
        state: the decoder's state after reading everything before the word, repeated for N rows.
        memory: the memory of the source, limited to what the attention may look at.
        vocabulary: the target pieces.

    Returns:
        The pieces of each word, and [N] the log-probability of each word, including that it ends there.
    """
    words, totals = [[int(piece)] for piece in tokens], log_probs.clone()
    running = tokens != EOS
    for _ in range(_LONGEST_WORD):
        if not running.any():
            break
        next_log_probs, _, state = model.step(tokens, state, memory)  # [N, V]
        ends = torch.stack([_ends_before(vocabulary, vocabulary.text(word), tokens.device) for word in words])
        inside = next_log_probs.masked_fill(ends, -torch.inf)
        inside[:, _NEVER] = -torch.inf
        best = inside.max(dim=-1)
        end = next_log_probs.masked_fill(~ends, -torch.inf).logsumexp(dim=-1)  # [N] that the word ends here
        totals += torch.where(running, torch.maximum(best.values, end), 0.0)
        running &= best.values > end
        tokens = torch.where(running, best.indices, tokens)
        for row in running.nonzero()[:, 0].tolist():
            words[row].append(int(tokens[row]))
    return words, totals


def _ends_before(vocabulary: Vocabulary, text: str, device: torch.device) -> Tensor:
    """Return ``[V]`` True for the pieces before which the last word of a text ends.

    A single space is the beginning of a word, which any piece without a space continues.
    """
    if text.strip():
        ends = torch.from_numpy(vocabulary.ends_before(text))
    else:
        ends = torch.tensor([piece.startswith(" ") for piece in vocabulary.texts])
    ends[EOS] = True
    return ends.to(device)
