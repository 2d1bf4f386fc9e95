"""Where a training starts: from scratch, under a fresh name, from another run's weights, or where it stopped."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmt.config import Config, ModelPart
from nmt.config.load import differing_keys, load_config
from nmt.data.prepare import Corpora
from nmt.data.tokenizer import Tokenizer, load_tokenizer
from nmt.errors import CheckpointError, ConfigError
from nmt.model.allocate import allocate_model
from nmt.model.seq2seq import Seq2Seq
from nmt.runs.checkpoint import intact_checkpoint, newest_checkpoint
from nmt.runs.folder import RunFolder, find_model
from nmt.runs.weights import load_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InitFrom:
    """The model whose weights a new run starts with; a run that is resumed ignores it.

    Attributes:
        path: the run folder of the model, or a packed model.
        new_vocabulary: whether the new run makes its own tokenizer; otherwise it takes the model's tokenizer.
        reset: parts of the model whose weights are not taken.
    """

    path: Path
    new_vocabulary: bool = False
    reset: tuple[ModelPart, ...] = ()


@dataclass(frozen=True)
class Start:
    """What a training starts with.

    Attributes:
        checkpoint: the run's own checkpoint from which it continues; None for a new run.
        weights: another run and its checkpoint, if a new run starts with the weights of that checkpoint; else None.
        tokenizer_of: the run whose tokenizer is taken; None if it is made as the configuration says.
    """

    checkpoint: Path | None = None
    weights: tuple[RunFolder, Path] | None = None
    tokenizer_of: RunFolder | None = None

    def load_tokenizer(self, config: Config) -> Tokenizer | None:
        """Return the tokenizer of `tokenizer_of`; None if there is no such run."""
        return load_tokenizer(config.tokenizer, self.tokenizer_of.tokenizer) if self.tokenizer_of else None

    @property
    def description(self) -> str:
        """A description for people."""
        if self.checkpoint is not None:
            return f"resumes from {self.checkpoint.name}"
        return "new" if self.weights is None else f"starts from {self.weights[1]}"


def start_of(config: Config, run: RunFolder, init_from: InitFrom | None) -> Start:
    """Return what the training of a run starts with.

    Args:
        config: the configuration of the run.
        run: the folder of the run.
        init_from: the model whose weights a new run starts with; a run that is resumed keeps its own weights.

    Raises:
        ConfigError: if the run, or the model it would start with, has another configuration.
        CheckpointError: if there is no checkpoint that training can continue from.
    """
    checkpoint = earlier_checkpoint(config, run)
    if checkpoint is not None:
        if init_from is not None:
            log.info(
                "%s has already begun and is resumed; %s is only for a new run (--fresh)", run.path, init_from.path
            )
        return Start(checkpoint, tokenizer_of=run)
    if init_from is None:
        return Start()
    weights = first_weights(config, init_from)
    return Start(weights=weights, tokenizer_of=None if init_from.new_vocabulary else weights[0])


def earlier_checkpoint(config: Config, run: RunFolder) -> Path | None:
    """Return the checkpoint from which a run continues; None for a new run.

    Raises:
        ConfigError: if the folder holds a run of another configuration, or something else.
        CheckpointError: if it holds a model that training cannot continue from.
    """
    checkpoint = newest_checkpoint(run.checkpoints)
    if checkpoint is None:
        if any(run.checkpoints.glob("[!.]*/model.safetensors")):
            raise CheckpointError(
                f"{run.path} contains a trained model without the trainer's state, so its training cannot be resumed; "
                f"give the new run another name (--set name=...)"
            )
        if run.path.exists() and not run.log.exists() and any(run.path.glob("[!.]*")):
            raise ConfigError(f"{run.path} exists but is not a run; give the new run another name (--set name=...)")
        return None  # the run is new, or it ended before its first checkpoint
    differences = differing_keys(load_config(run.config), config)
    if differences:
        listed = "\n".join(f"  {difference}" for difference in differences)
        raise ConfigError(
            f"{run.path} contains a run with another configuration; these keys differ (there -> now):\n{listed}\n"
            f"Change them back to resume it, or give the new run another name (--set name=...)."
        )
    return checkpoint


def refuse_changed_data(run: RunFolder, corpora: Corpora, fingerprints: Mapping[str, Any]) -> None:
    """Refuse to resume a run with other data than those that it was started with.

    Args:
        run: the run's folder.
        corpora: the data as they are now.
        fingerprints: those of the data in the run's checkpoint.

    Raises:
        CheckpointError: if they differ.
    """
    if (other := corpora.changed_since(fingerprints)) is not None:
        raise CheckpointError(
            f"{run.path}: {other} is not what this run was started with; give the new run another name (--set name=...)"
        )


def fresh_name(config: Config) -> Config:
    """Return the configuration with the first of NAME, NAME-2, NAME-3 and so on whose run folder does not exist."""
    number, fresh = 1, config
    while fresh.run_dir.exists():
        number += 1
        fresh = config.model_copy(update={"name": f"{config.name}-{number}"})
    log.info(
        "starting a new run in %s; to resume it later, give --set name=%s instead of --fresh", fresh.run_dir, fresh.name
    )
    return fresh


def first_weights(config: Config, init_from: InitFrom) -> tuple[RunFolder, Path]:
    """Return the run whose weights a new run starts with, and the folder of the checkpoint that has them.

    Raises:
        CheckpointError: if there is no such run or checkpoint.
        ConfigError: if that run has a different model or tokenizer.
    """
    other = find_model(init_from.path)
    other.refuse_strange_files()
    theirs = load_config(other.config)
    theirs = theirs.model_copy(update={"model": theirs.model.model_copy(update={"dropout": config.model.dropout})})
    same = ("model.", "data.reverse") if init_from.new_vocabulary else ("model.", "tokenizer.", "data.reverse")
    differences = [difference for difference in differing_keys(theirs, config) if difference.startswith(same)]
    if differences:
        listed = "\n".join(f"  {difference}" for difference in differences)
        raise ConfigError(
            f"{init_from.path} contains another model, so a run cannot start from its weights (keys: there -> here):\n"
            f"{listed}\nSet these keys to the values there."
        )
    return other, intact_checkpoint(other)


def load_first_weights(run: RunFolder, checkpoint: Path) -> tuple[Seq2Seq, Tokenizer]:
    """Return the model of what `first_weights` found, with its tokenizer."""
    config = load_config(run.config)
    tokenizer = load_tokenizer(config.tokenizer, run.tokenizer)
    model = allocate_model(config, tokenizer.src_size, tokenizer.tgt_size, is_loaded=True)
    load_weights(checkpoint, model)
    return model, tokenizer
