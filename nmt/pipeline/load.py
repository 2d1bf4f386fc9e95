"""A model folder, ready to translate."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nmt.config import Config
from nmt.config_file import load_config
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.translator import Translator
from nmt.model.build import build_model
from nmt.run_folder import RunFolder, find_model
from nmt.runtime import choose_device, set_up_machine
from nmt.training.checkpoint import load_weights


@dataclass(frozen=True)
class LoadedModel:
    """A trained model with all that belongs to it."""

    run: RunFolder
    config: Config
    checkpoint: Path
    translator: Translator


def load_model(model: Path | None, checkpoint: str | None = None, overrides: Iterable[str] = ()) -> LoadedModel:
    """Read a model folder.

    Args:
        model: the run folder; None for the run trained last.
        checkpoint: `best`, `last` or ``step-<update>``; None for the best there is.
        overrides: ``key.path=value`` for keys that do not belong to the trained model (decoding, evaluation, data).

    Raises:
        CheckpointError: if there is no model, or it is damaged.
    """
    run = find_model(model, Path("runs"))
    config = load_config(run.config, overrides)
    folder = run.checkpoint(checkpoint)
    set_up_machine(config.training.threads)
    device = choose_device(config.training.device)
    tokenizer = Tokenizer.load(run.tokenizer)
    network = build_model(config, tokenizer.src_size, tokenizer.tgt_size)
    load_weights(folder, network)
    return LoadedModel(run, config, folder, Translator(network.to(device), tokenizer, config.decoding, device))
