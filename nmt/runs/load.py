"""A model folder, ready to translate."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from nmt.config import Config, Source
from nmt.config.data import DataConfig
from nmt.config.load import load_config
from nmt.data.tokenizer import Tokenizer, load_tokenizer
from nmt.decoding.ensemble import Ensemble
from nmt.decoding.precision import in_precision
from nmt.decoding.translator import Translator
from nmt.errors import CheckpointError, ConfigError
from nmt.evaluation.calibration import Calibration
from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq
from nmt.runs.checkpoint import check_weights, intact_checkpoint, load_weights
from nmt.runs.folder import RunFolder, find_model
from nmt.runtime import choose_device, set_up_machine


@dataclass(frozen=True)
class LoadedModel:
    """A trained model with all that belongs to it; of an ensemble, all but `members` is the first one's."""

    run: RunFolder
    config: Config
    checkpoint: Path
    translator: Translator
    members: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The run's name, or those of all members of an ensemble."""
        return "+".join(path.resolve().name for path in self.members)

    @property
    def calibration(self) -> Calibration:
        """Of word confidences, as `nmt calibrate` fitted it; without it the model's own view."""
        if not self.run.calibration.exists():
            return Calibration()
        try:
            kept = json.loads(self.run.calibration.read_text(encoding="utf-8"))
            calibration = Calibration(float(kept["temperature"]), float(kept["offset"]))
            if not (calibration.temperature > 0 and math.isfinite(calibration.temperature + calibration.offset)):
                raise ValueError("no calibration")
            return calibration
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise CheckpointError(f"{self.run.calibration}: damaged; run nmt calibrate again") from None

    def source(self, split: Literal["train", "valid", "test"], files: tuple[Path, Path] | None = None) -> Source:
        """Return where the pairs of two files, or of a split of the run's own data, come from.

        Raises:
            ConfigError: if the configuration names no such split.
        """
        if files is not None:
            return Source(src=str(files[0]), tgt=str(files[1]))
        source = self.config.data.source(split)
        if source is None:
            raise ConfigError(f"{self.run.config} names no data.{split}; give files, or --set data.{split}=...")
        return source


def load_model(
    model: Path | Sequence[Path] | None, checkpoint: str | None = None, overrides: Iterable[str] = ()
) -> LoadedModel:
    """Read a model folder, or several that translate together.

    Args:
        model: the run folder, or several of one vocabulary (the first one's settings hold); None for the run trained
            last.
        checkpoint: `best`, `last` or ``step-<update>``; None for the best there is.
        overrides: ``key.path=value`` for keys that do not belong to the trained model (decoding, evaluation, data).

    Raises:
        CheckpointError: if there is no model, or it is damaged, or several have different pieces.
    """
    folders = [] if model is None else [model] if isinstance(model, Path) else list(model)
    run = find_model(folders[0] if folders else None, Path("runs"))
    config = _own_config(run, overrides)
    folder = intact_checkpoint(run, checkpoint)
    set_up_machine(config.training.threads)
    device = choose_device(config.training.device)
    tokenizer = load_tokenizer(config.tokenizer, run.tokenizer)
    members = [_network(config, tokenizer, folder)]
    members += [_member(path, checkpoint, run, tokenizer) for path in folders[1:]]
    members = [in_precision(member, config.decoding.precision, device) for member in members]
    network = members[0] if len(members) == 1 else Ensemble(members)
    network.eval()  # for good: a call that switched modes would disturb another thread's
    translator = Translator(network, tokenizer, config.decoding, device)
    return LoadedModel(run, config, folder, translator, tuple(folders) or (run.path,))


def _own_config(run: RunFolder, overrides: Iterable[str] = ()) -> Config:
    """The folder's configuration; where to compute and to write is this machine's matter, not the folder's."""
    run.refuse_links_out()
    cache = f"data.cache_dir={DataConfig.model_fields['cache_dir'].default}"
    return load_config(run.config, [cache, "training.device=auto", "training.threads=0", *overrides])


def _network(config: Config, tokenizer: Tokenizer, folder: Path) -> Seq2Seq:
    try:
        with torch.device("meta"):  # sizes first: a crafted configuration must not take more memory than its weights do
            skeleton = build_model(config, tokenizer.src_size, tokenizer.tgt_size)
    except (RuntimeError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{folder}: no model can have the sizes of its configuration: {reason}") from None
    check_weights(folder, skeleton)
    network = build_model(config, tokenizer.src_size, tokenizer.tgt_size)
    load_weights(folder, network)
    return network


def _member(path: Path, checkpoint: str | None, first: RunFolder, tokenizer: Tokenizer) -> Seq2Seq:
    """Another model of an ensemble."""
    run = find_model(path, Path("runs"))
    config = _own_config(run)
    if load_tokenizer(config.tokenizer, run.tokenizer).fingerprint != tokenizer.fingerprint:
        raise CheckpointError(
            f"{run.path} and {first.path} have different pieces, so they cannot translate together; train them with "
            f"one tokenizer configuration on one corpus"
        )
    return _network(config, tokenizer, intact_checkpoint(run, checkpoint))
