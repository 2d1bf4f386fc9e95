"""Estimates of what a training will take: its sizes and memory, without a model, and its time, from a few updates."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from nmt.config import AttentionConfig, Config, TrainingConfig
from nmt.data.batching import plan_batches
from nmt.data.prepare import Corpora
from nmt.data.sampled import sampled_epochs
from nmt.errors import DataError
from nmt.model.allocate import allocate_model
from nmt.runtime import choose_device, choose_precision, set_seed
from nmt.training.trainer import Trainer

_WARM, _TIMED = 3, 16  # updates before the measurement, and updates that are timed


@dataclass(frozen=True)
class Sizes:
    """The sizes of a training.

    Attributes:
        parameters: the number of scalar parameters, including frozen ones; shared ones count once.
        batches: batches of the first epoch.
        updates: updates of the first epoch.
        largest_batch: padded tokens of the largest batch, on its longer side.
        memory: a rough estimate of the bytes needed in addition to the program itself.
    """

    parameters: int
    batches: int
    updates: int
    largest_batch: int
    memory: float


def estimate_sizes(config: Config, corpora: Corpora) -> Sizes:
    """Return the sizes of a training, without allocating memory for the model.

    Args:
        config: the configuration of the run.
        corpora: the tokenizer and the pairs of the run.
    """
    tokenizer, train, training = corpora.tokenizer, corpora.train, config.training
    model = allocate_model(config, tokenizer.src_size, tokenizer.tgt_size, "meta")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lengths = train.src_len, train.tgt_len
    plan = plan_batches(*lengths, training.batch_size, training.batch_unit, config.seed, 0, train.weights)
    if not plan:
        raise DataError("there is no training pair in the first epoch: the weights of data.train leave none")
    costs = train.costs
    padded = max(int(costs[chosen].max()) * len(chosen) for chosen in plan)
    return Sizes(
        parameters=parameters,
        batches=len(plan),
        updates=-(-len(plan) // training.accumulate),
        largest_batch=padded,
        memory=_memory(config, parameters, padded, tokenizer.tgt_size),
    )


def _memory(config: Config, parameters: int, padded: int, vocabulary: int) -> float:
    """Return a rough estimate of the memory in bytes.

    It counts weights, gradients and two moments, the logits three times, and some twenty activation vectors per token
    and layer. A moving average takes as much memory as the weights. With a consistency loss, every batch is counted
    twice, since there are two passes.
    """
    training = config.training
    copies = 4 + (1 if training.averaging.ema else 0)
    padded *= 1 if training.consistency.type == "none" else 2
    model = config.model
    decoder = model.decoder
    width = max(decoder.hidden_size if decoder.type == "rnn" else 0, model.memory_size, model.embedding_size)
    layers = model.encoder.layers + model.decoder.layers
    attention = 0
    # The hidden layer of additive and concat is [B, T, S, A].
    if isinstance(model.attention, AttentionConfig) and model.attention.score in ("additive", "concat"):
        attention = 3 * config.data.max_length * model.attention.size // 4
    return 4.0 * (copies * parameters + padded * (3 * vocabulary + 20 * layers * width + attention))


def size_rows(config: Config, corpora: Corpora) -> list[tuple[str, str]]:
    """Return the sizes of a training as rows of name and value, for display."""
    sizes, train, tokenizer = estimate_sizes(config, corpora), corpora.train, corpora.tokenizer
    device = choose_device(config.training.device)
    precision = str(choose_precision(config.training.precision, device)).removeprefix("torch.")
    sides = "joint" if tokenizer.joint else f"source, {tokenizer.tgt_size} target"
    return [
        ("training pairs", f"{len(train)}"),
        *(
            []
            if train.weights is None
            else [("pairs in an epoch", f"some {train.weights.sum():.0f}, by their weights")]
        ),
        ("dropped, a side empty", f"{train.drops.empty}"),
        ("dropped, too long", f"{train.drops.too_long} (more than {config.data.max_length} pieces)"),
        ("validation pairs", f"{len(corpora.valid)}"),
        ("pieces per sentence", f"{train.src_len.mean():.1f} source, {train.tgt_len.mean():.1f} target"),
        ("vocabulary", f"{tokenizer.src_size} {sides}"),
        ("parameters", f"{sizes.parameters:,}"),
        ("batches per epoch", f"{sizes.batches}, {sizes.updates} updates"),
        ("largest batch", f"{sizes.largest_batch} padded tokens"),
        ("estimated memory", f"{sizes.memory / 2**30:.1f} GiB beside the program itself"),
        ("device", f"{device}, {precision}"),
    ]


@dataclass(frozen=True)
class Duration:
    """The estimated time of a training on this machine, without validation.

    Attributes:
        tokens_per_second: target tokens per second, the median over the timed updates.
        epoch_minutes: minutes per epoch at the upper and at the lower quartile of the timed rates.
        total_minutes: the same for the entire training, which may end early at `max_updates` or `max_minutes`.
    """

    tokens_per_second: float
    epoch_minutes: tuple[float, float]
    total_minutes: tuple[float, float]


def measure_duration(config: Config, corpora: Corpora) -> Duration | None:
    """Train for a few updates, discard the result, and return the estimated time of the entire training.

    Return None if the training ends before any update is timed.
    """
    training, train = config.training, corpora.train
    set_seed(config.seed)
    device = choose_device(training.device)
    precision = choose_precision(training.precision, device)
    model = allocate_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size, device)
    epochs = sampled_epochs(config, corpora)
    trainer = Trainer(training, config.seed, model, device, precision, epochs, config.guided_loss)
    updates = trainer.updates()
    for _ in islice(updates, _WARM):
        pass
    tokens, rates, started = 0, [], time.perf_counter()
    for update in islice(updates, _TIMED):
        now = time.perf_counter()
        tokens += update.tgt_tokens
        rates.append(update.tgt_tokens / max(1e-9, now - started))
        started = now
    if not rates:
        return None
    weights = 1.0 if train.weights is None else train.weights
    some = np.arange(0, len(train), max(1, len(train) // 1000))
    longer = epochs(0).token_counts(some)[1] / train.token_counts(some)[1]  # by subword sampling
    epoch_tokens = longer * float(((train.tgt_len + 1) * weights).sum())
    return duration_at(rates, epoch_tokens, tokens / len(rates), training)


def duration_at(
    rates: Sequence[float], epoch_tokens: float, update_tokens: float, training: TrainingConfig
) -> Duration:
    """Estimate the duration of a training from the measured rates of some updates.

    The estimate comes from the median of the rates, and its range from their quartiles, so that a single slow update
    has no influence.

    Args:
        rates: target tokens per second of each update.
        epoch_tokens: target tokens of an epoch.
        update_tokens: target tokens of an update.
        training: the settings that determine when training ends.
    """
    tokens = epoch_tokens * training.epochs
    if training.max_updates is not None:
        tokens = min(tokens, training.max_updates * update_tokens)
    slow, usual, fast = (float(rate) for rate in np.quantile(rates, (0.25, 0.5, 0.75)))
    limit = training.max_minutes or math.inf
    return Duration(
        usual,
        (epoch_tokens / fast / 60, epoch_tokens / slow / 60),
        (min(limit, tokens / fast / 60), min(limit, tokens / slow / 60)),
    )


def duration_rows(duration: Duration) -> list[tuple[str, str]]:
    """Return the estimated time of a training as rows of name and value, for display."""
    epoch, total = _span(duration.epoch_minutes), _span(duration.total_minutes)
    return [
        ("training rate here", f"{duration.tokens_per_second:,.0f} target tokens/s, over {_TIMED} updates"),
        ("estimated time", f"{epoch} minutes an epoch, {total} in all, validation aside"),
    ]


def uncounted_rows(config: Config) -> list[tuple[str, str]]:
    """Return what else takes time in a training, as rows of name and value, for display."""
    links, parts = config.training.guided_alignment.links, config.data.train.each
    has_links = links == "auto" and all(part.links is not None or part.builtin is not None for part in parts)
    if config.guided_loss is None or links not in ("auto", "bitext") or has_links:
        return []
    after = ", and a word aligner after the last one" if config.decoding.alignment_from in ("auto", "aligner") else ""
    return [("not counted", f"word links, made before the first update (training.guided_alignment){after}")]


def _span(bounds: tuple[float, float]) -> str:
    """Return two numbers as the text of a range, or of one number if both are the same after rounding."""
    digits = 1 if bounds[1] < 10 else 0
    low, high = (f"{bound:.{digits}f}" for bound in bounds)
    return low if low == high else f"{low} to {high}"
