"""What a training will take: sizes, memory and time, without training and without making the model."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from nmt.config import AttentionConfig, Config, TrainingConfig
from nmt.data.batching import plan_batches
from nmt.data.prepare import Corpora
from nmt.errors import DataError
from nmt.model.allocate import allocate_model
from nmt.runtime import choose_device, choose_precision, set_seed
from nmt.training.trainer import Trainer

_WARM, _TIMED = 3, 16  # updates that are thrown away, and that are timed


@dataclass(frozen=True)
class Sizes:
    """The sizes of a training.

    Attributes:
        parameters: trained numbers; shared ones count once.
        batches: batches of the first epoch.
        updates: updates of the first epoch.
        largest_batch: padded tokens of the largest batch, on its longer side.
        memory: bytes beside the program itself, roughly.
    """

    parameters: int
    batches: int
    updates: int
    largest_batch: int
    memory: float


def estimate_sizes(config: Config, corpora: Corpora) -> Sizes:
    """Return the sizes of a training; no memory is taken for the model.

    Args:
        config: the configuration of the run.
        corpora: its tokenizer and pairs.
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
    """Return bytes, roughly: weights, gradients, two moments; logits three times; some twenty activations per token.

    A moving average has the size of the weights, and two passes that must agree read every batch twice.
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
    """Return names and values of everything that has a size, for a person."""
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
    """The time of a training on this machine, validation aside.

    Attributes:
        tokens_per_second: target tokens; the median of the updates that were timed.
        epoch_minutes: minutes of one epoch: at the rate of the fast quarter of the updates, and of the slow one.
        total_minutes: the same to the last epoch, or to `max_updates` or `max_minutes` if they come first.
    """

    tokens_per_second: float
    epoch_minutes: tuple[float, float]
    total_minutes: tuple[float, float]


def measure_duration(config: Config, corpora: Corpora) -> Duration | None:
    """Train for a moment, keep nothing, and return how long all of it would take; None if it is over too soon."""
    training, train = config.training, corpora.train
    set_seed(config.seed)
    device = choose_device(training.device)
    precision = choose_precision(training.precision, device)
    model = allocate_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size, device)
    trainer = Trainer(training, config.seed, model, device, precision, lambda epoch: train)
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
    return duration_at(rates, float((train.tgt_len + 1).sum()), tokens / len(rates), training)


def duration_at(
    rates: Sequence[float], epoch_tokens: float, update_tokens: float, training: TrainingConfig
) -> Duration:
    """Return the time of a training whose updates were measured at these rates.

    The median and the quartiles say what is usual: one update that waited for something else does not count.

    Args:
        rates: target tokens per second of each update.
        epoch_tokens: target tokens of an epoch.
        update_tokens: target tokens of an update.
        training: the settings that say when training ends.
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
    """Return names and values of the time that a training takes, for a person."""
    epoch, total = _span(duration.epoch_minutes), _span(duration.total_minutes)
    return [
        ("training rate here", f"{duration.tokens_per_second:,.0f} target tokens/s, over {_TIMED} updates"),
        ("estimated time", f"{epoch} minutes an epoch, {total} in all, validation aside"),
    ]


def _span(bounds: tuple[float, float]) -> str:
    """Return two numbers as a range, or as one number if they read the same."""
    digits = 1 if bounds[1] < 10 else 0
    low, high = (f"{bound:.{digits}f}" for bound in bounds)
    return low if low == high else f"{low} to {high}"
