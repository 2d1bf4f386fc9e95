"""COMET, run as a separate program, since it needs older versions of numpy and other packages than this package."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from nmt.config import CometMetricConfig
from nmt.errors import ConfigError

_PROGRAM = "comet-score"


def comet_program() -> str:
    """Return the path of COMET's program.

    Raises:
        ConfigError: if it is not there.
    """
    program = shutil.which(_PROGRAM)
    if program is None:
        raise ConfigError(
            f"the metric comet runs the program {_PROGRAM}, which is not installed; install it in an environment of "
            f"its own: pipx install unbabel-comet"
        )
    return program


def comet_score(
    config: CometMetricConfig, srcs: Sequence[str], hyps: Sequence[str], refs: Sequence[str]
) -> tuple[float, str]:
    """Return COMET's score of a corpus, 100 times what its program prints, and a signature.

    Args:
        config: the model and the batch size.
        srcs: the source texts.
        hyps: the translations.
        refs: the references.

    Raises:
        ConfigError: if the program is not there, or fails.
    """
    program = comet_program()
    with tempfile.TemporaryDirectory() as folder:
        arguments = []
        for option, texts in (("-s", srcs), ("-t", hyps), ("-r", refs)):
            path = Path(folder, option.strip("-"))
            lines = (re.sub(r"[\r\n]+", " ", text) + "\n" for text in texts)
            path.write_text("".join(lines), encoding="utf-8", newline="\n")
            arguments += [option, str(path)]
        gpus = "1" if torch.cuda.is_available() else "0"
        command = [program, *arguments, "--model", config.model, "--batch_size", str(config.batch_size)]
        done = subprocess.run(
            [*command, "--gpus", gpus, "--quiet", "--only_system"],
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    found = re.findall(r"score:\s*(-?\d+\.?\d*(?:e[-+]?\d+)?)\b", done.stdout)
    if done.returncode or not found:
        raise ConfigError(f"{_PROGRAM} failed with exit code {done.returncode}; its own messages are above")
    return 100.0 * float(found[-1]), f"comet-score|model:{config.model}"
