"""Loading a model folder for translation."""

import functools
import json
import logging
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from nmt.alignment.report import ReportHead
from nmt.atomic import atomic_write
from nmt.config import Config, Source
from nmt.config.data import DataConfig
from nmt.config.load import load_config
from nmt.data.sources import source_digest
from nmt.data.tokenizer import Tokenizer, load_tokenizer
from nmt.decoding.ensemble import Ensemble
from nmt.decoding.precision import in_precision
from nmt.decoding.translator import Translator
from nmt.decoding.word_aligner import WordAligner
from nmt.errors import CheckpointError, ConfigError, NmtError
from nmt.evaluation.calibration import Calibration
from nmt.model.allocate import allocate_model
from nmt.model.seq2seq import Seq2Seq
from nmt.regular import MIB, read_regular
from nmt.runs.checkpoint import intact_checkpoint
from nmt.runs.folder import RunFolder, find_model
from nmt.runs.weights import check_weights, load_weights
from nmt.runtime import allow_tf32, choose_device, set_up_machine

log = logging.getLogger(__name__)
_LARGEST_CALIBRATION = 1 * MIB
_NAMES_DATA = ("data.train", "data.valid", "data.test")  # overrides that replace a corpus
_SAYS_WHERE = ("data.root=", *_NAMES_DATA)  # overrides that say where data are

# The sections and keys that can be set for a trained model; all others belong to its training.
_OF_USE = ("decoding", "evaluation", "data", "training.device", "training.threads")


@dataclass(frozen=True)
class LoadedModel:
    """A trained model with everything that belongs to it.

    For an ensemble, `run`, `config` and `checkpoint` are those of the first model.

    Attributes:
        run: the run folder, with all links resolved.
        config: the configuration of the run, with the caller's overrides.
        checkpoint: the folder of the weights; never a link.
        translator: the model or the ensemble, ready to translate texts.
        members: the run folders of all models.
        trusts_data: whether the data that the configuration names may be anywhere on this machine.
        backward: the run folder of the model that re-ranks translations, if there is one.
        overrides_data: whether an override has replaced the corpora that the configuration names.
    """

    run: RunFolder
    config: Config
    checkpoint: Path
    translator: Translator
    members: tuple[Path, ...]
    trusts_data: bool = False
    backward: Path | None = None
    overrides_data: bool = False

    @property
    def name(self) -> str:
        """The run's name, or those of all members of an ensemble."""
        return "+".join(path.resolve().name for path in self.members)

    @functools.cached_property
    def calibration(self) -> Calibration:
        """The calibration of word confidences that `nmt calibrate` fitted to this model; the identity if none."""
        path = self.run.calibration
        if not path.exists():
            return Calibration()
        try:
            kept = json.loads(read_regular(path, _LARGEST_CALIBRATION))
            calibration = Calibration(float(kept["temperature"]), float(kept["offset"]))
            if not (calibration.temperature > 0 and math.isfinite(calibration.temperature + calibration.offset)):
                raise ValueError("no calibration")
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise CheckpointError(f"{path}: damaged; run nmt calibrate again") from None
        differing = [
            f"{key} {kept.get(key, 'unknown')} there, {value} here"
            for key, value in self._calibrated().items()
            if kept.get(key) != value
        ]
        if differing:
            log.warning(
                "%s was fitted to something else (%s) and is not used; run nmt calibrate again",
                path,
                "; ".join(differing),
            )
            return Calibration()
        return calibration

    def keep_calibration(self, calibration: Calibration) -> None:
        """Write a calibration into the run folder, with the settings that it depends on."""
        with atomic_write(self.run.calibration) as tmp_path:
            tmp_path.write_text(json.dumps(asdict(calibration) | self._calibrated()) + "\n", encoding="utf-8")

    def _calibrated(self) -> dict[str, Any]:
        """Return the settings that a calibration depends on."""
        decoding = self.config.decoding
        return {
            "checkpoint": self.checkpoint.name,
            "models": len(self.members),
            "precision": decoding.precision,
            "beam_size": decoding.beam_size,
        }

    def report_head(self, **scores: str) -> ReportHead:
        """Return the facts about this model for the head of a page with its translations.

        Args:
            scores: further facts, such as the scores on a test set, by their names.
        """
        source, target = self.config.data.languages
        facts = {
            "model": self.name,
            "checkpoint": self.checkpoint.name,
            "languages": " → ".join(filter(None, (source, target))),
            "beam": str(self.config.decoding.beam_size),
        }
        return ReportHead({name: fact for name, fact in (facts | scores).items() if fact}, (source, target))

    def source(self, split: Literal["train", "valid", "test"], files: tuple[Path, Path] | None = None) -> Source:
        """Return the source of sentence pairs: two given files, or a split of the run's own data.

        Raises:
            ConfigError: if the configuration does not name the split, or names files outside of `data.root` and the
                working directory. A model folder from somebody else must not choose what is read on this machine.
        """
        if files is not None:
            return Source(src=str(files[0]), tgt=str(files[1]))
        source = self.config.data.source(split)
        if source is None:
            raise ConfigError(f"{self.run.config} names no data.{split}; give files, or --set data.{split}=...")
        paths = _local_paths(source)
        if not self.trusts_data:
            self._refuse_outside(split, paths)
        if paths:
            log.info("reading %s, the %s data that %s names", " and ".join(paths), split, self.run.config)
        return source

    def owns(self, source: Source, split: Literal["train", "valid", "test"]) -> bool:
        """Return whether a source holds the pairs that the run's configuration names, wherever the files are."""
        own = self.config.data.source(split)
        if self.overrides_data or own is None:
            return False
        cache = Path(self.config.data.cache_dir).expanduser()
        try:
            if not self.trusts_data:
                self._refuse_outside(split, _local_paths(own))
            return own == source or source_digest(own, split, cache) == source_digest(source, split, cache)
        except NmtError:
            return False

    def _refuse_outside(self, split: str, paths: Sequence[str]) -> None:
        inside = [Path.cwd(), *(Path(root).expanduser() for root in [self.config.data.root] if root)]
        for path in paths:
            # Links are not resolved: those in the model folder have been checked, and others belong to this machine.
            if not any(Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder)) for folder in inside):
                raise ConfigError(
                    f"{self.run.config}: data.{split} names {path}, which is outside of data.root and of the working "
                    f"directory. If you trust this path, give --set data.root={Path(path).parent}, or the files "
                    f"themselves"
                )


def _local_paths(source: Source) -> list[str]:
    """Return the paths of a source's files, or of its folder, on this machine."""
    if source.parts:
        return [path for part in source.parts for path in _local_paths(part)]
    if source.builtin is not None:
        return []
    if source.hub is not None:
        return [source.hub] if Path(source.hub).expanduser().exists() else []
    named = [source.links, *([source.path] if source.path is not None else [source.src, source.tgt])]
    return [str(Path(path).expanduser()) for path in named if path is not None]


def load_model(
    model: Path | Sequence[Path] | None,
    checkpoint: str | None = None,
    overrides: Iterable[str] = (),
    *,
    trusts_data: bool = False,
    owns_process: bool = True,
    with_aligner: bool = True,
    backward: Path | None = None,
) -> LoadedModel:
    """Load a model folder, or several models that translate together.

    Args:
        model: the run folder, or several with the same vocabulary, used with the settings of the first; None for
            the run trained last.
        checkpoint: `best`, `last` or ``step-<update>``; None for the best that is usable.
        overrides: ``key.path=value`` for keys that do not belong to the trained model (decoding, evaluation, data).
        trusts_data: whether the data that the configuration names may be anywhere on this machine. This is always true
            if an override names data.
        owns_process: whether to set up torch's threads and the memory of the process, as a command does.
        with_aligner: whether to load the run's word aligner, which takes a moment and is needed only for alignments.
        backward: a run of the other direction, which re-ranks translations (`decoding.backward_weight`).

    Raises:
        ConfigError: if an override cannot change a trained model or has no effect, or if the backward model has other
            languages.
        CheckpointError: if there is no model, it is damaged, or several models have different pieces.
    """
    overrides = list(overrides)
    folders = [None] if model is None else [model] if isinstance(model, Path) else list(model)
    runs = [find_model(folder) for folder in folders]
    run, *others = runs
    config = _own_config(run, overrides)
    folder = intact_checkpoint(run, checkpoint)
    if owns_process:
        set_up_machine(config.training.threads, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    device = choose_device(config.training.device)
    allow_tf32(in_products=False, in_rnns=False)
    tokenizer = load_tokenizer(config.tokenizer, run.tokenizer)
    members, configs = [_network(config, tokenizer, folder)], [config, *map(_own_config, others)]
    for other, own in zip(others, configs[1:], strict=True):
        members.append(_member(other, own, checkpoint, run, tokenizer))
    members = [in_precision(member, config.decoding.precision, device) for member in members]
    steps = [_step_of_weights(one) for one in configs]
    network = members[0] if len(members) == 1 else Ensemble(members, steps)
    network.eval()  # for good: a call that switched modes would disturb calls in other threads
    aligner = None
    if config.decoding.alignment_from in ("auto", "aligner") and run.aligner.is_dir():
        aligner = WordAligner.load(run.aligner, device) if with_aligner else None
    elif config.decoding.alignment_from == "aligner":
        raise ConfigError(
            f"decoding.alignment_from is aligner, but {run.path} has no word aligner; set it to attention, posterior "
            "or auto"
        )
    # The weights of an ensemble are those of its first model with attention.
    step = next((step for step in steps if step is not None), config.resolved_decoding.alignment_at)
    settings = config.decoding.model_copy(update={"alignment_at": step})
    translator = Translator(network, tokenizer, settings, device, aligner, _backward(backward, config, overrides))
    trusts_data = trusts_data or any(override.strip().startswith(_SAYS_WHERE) for override in overrides)
    overrides_data = any(override.strip().startswith(_NAMES_DATA) for override in overrides)
    members_of = tuple(one.path for one in runs)
    return LoadedModel(run, config, folder, translator, members_of, trusts_data, backward, overrides_data)


def _own_config(run: RunFolder, overrides: Iterable[str] = ()) -> Config:
    """Return the folder's configuration, but with the default device, number of threads and cache of this machine.

    Raises:
        ConfigError: for an override that cannot change a trained model.
    """
    overrides = list(overrides)
    run.refuse_strange_files()
    for override in overrides:
        key, equals, _ = override.partition("=")
        if equals and not any(f"{key.strip()}.".startswith(f"{allowed}.") for allowed in _OF_USE):
            raise ConfigError(
                f"--set {override}: this has no effect on a trained model; what can be set is "
                f"{', '.join(_OF_USE[:-1])} and {_OF_USE[-1]}"
            )
    cache = f"data.cache_dir={DataConfig.model_fields['cache_dir'].default}"
    return load_config(run.config, [cache, "training.device=auto", "training.threads=0", *overrides])


def _backward(path: Path | None, config: Config, overrides: Sequence[str]) -> Translator | None:
    """Load the model that re-ranks translations; return None if `path` is None."""
    if path is None:
        if unused := [override for override in overrides if override.strip().startswith("decoding.backward_weight")]:
            raise ConfigError(f"--set {unused[0]} has no effect without --backward MODEL")
        return None
    if config.decoding.mbr.candidates:
        raise ConfigError("--backward and decoding.mbr both choose among candidates; set decoding.mbr.candidates=0")
    if config.decoding.sampling.enabled or config.decoding.beam_size == 1:
        raise ConfigError(
            "--backward chooses among the translations of a beam, so it needs beam search with a beam above 1"
        )
    machine = [one for one in overrides if one.strip().startswith(("training.device", "decoding.precision"))]
    loaded = load_model(path, None, machine, owns_process=False, with_aligner=False)
    ours, theirs = config.data.languages, loaded.config.data.languages
    unnamed = {"src", "tgt"}  # of a configuration that names no languages
    if not unnamed & {*ours, *theirs} and ours != theirs[::-1]:
        raise ConfigError(
            f"--backward {path} translates from {theirs[0]} to {theirs[1]}, but the translations that it re-ranks are "
            f"from {ours[0]} to {ours[1]}"
        )
    return loaded.translator


def _network(config: Config, tokenizer: Tokenizer, folder: Path) -> Seq2Seq:
    try:  # sizes first: a crafted configuration must not take more memory than its weights do
        skeleton = allocate_model(config, tokenizer.src_size, tokenizer.tgt_size, "meta")
    except ConfigError as error:
        raise CheckpointError(f"{folder}: no model can have the sizes of its configuration: {error}") from None
    check_weights(folder, skeleton)
    with torch.random.fork_rng(devices=[]):  # a module of another package may start with random weights
        network = allocate_model(config, tokenizer.src_size, tokenizer.tgt_size, is_loaded=True)
    load_weights(folder, network)
    return network


def _step_of_weights(config: Config) -> str | None:
    """Return where the attention weights of a model belong (`decoding.alignment_at`); None if it has no attention."""
    return config.resolved_decoding.alignment_at if config.model.has_attention else None


def _member(run: RunFolder, config: Config, checkpoint: str | None, first: RunFolder, tokenizer: Tokenizer) -> Seq2Seq:
    """Load one more model of an ensemble."""
    if load_tokenizer(config.tokenizer, run.tokenizer).fingerprint != tokenizer.fingerprint:
        raise CheckpointError(
            f"{run.path} and {first.path} have different pieces, so they cannot translate together; train them with "
            f"one tokenizer configuration on one corpus"
        )
    return _network(config, tokenizer, intact_checkpoint(run, checkpoint))
