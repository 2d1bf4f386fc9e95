"""Where a run keeps its files, and which run was trained last."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nmt.errors import CheckpointError


@dataclass(frozen=True)
class RunFolder:
    """The files of one run. The folder is self-contained and movable."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def tokenizer(self) -> Path:
        """The sentencepiece models."""
        return self.path / "tokenizer"

    @property
    def checkpoints(self) -> Path:
        """``step-<update>`` folders and the links `best` and `last`."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One JSON object per logged update or validation."""
        return self.path / "metrics.jsonl"

    @property
    def calibration(self) -> Path:
        """The calibration of word confidences, if one was fitted."""
        return self.path / "calibration.json"

    @property
    def log(self) -> Path:
        """What was said during training."""
        return self.path / "train.log"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def curve(self) -> Path:
        """The training curve as a picture."""
        return self.path / "curve.png"

    def refuse_links_out(self) -> None:
        """A model folder that somebody sent may not point at other files of this machine.

        Raises:
            CheckpointError: naming a file or link that leads out of the folder.
        """
        inside = self.path.resolve()
        for folder, folders, files in os.walk(inside):
            for name in (*folders, *files):
                path = Path(folder, name)
                if path.is_symlink() and not path.resolve().is_relative_to(inside):
                    raise CheckpointError(
                        f"{path}: leads out of the model folder, to {path.resolve()}; it is not followed"
                    )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second trainer away from the folder, which is made if it is not there.

        Raises:
            CheckpointError: if another process trains here; a process that died holds no lock.
        """
        import fcntl  # only here: translating works where there is none

        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise CheckpointError(
                    f"{self.path}: process {lock.read().strip()} is training this run already"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def checkpoint(self, name: str | None = None) -> Path:
        """The checkpoint called `name`, or the best one, or for want of it the last.

        Raises:
            CheckpointError: if there is none.
        """
        if name is not None and Path(name).name != name:
            raise CheckpointError(f"{name}: a checkpoint's name has no folders in it")
        for candidate in [name] if name else ["best", "last"]:
            if (self.checkpoints / candidate / "model.safetensors").exists():
                return self.checkpoints / candidate
        there = (
            ", ".join(sorted(path.name for path in self.checkpoints.iterdir())) if self.checkpoints.is_dir() else "none"
        )
        raise CheckpointError(f"{self.path}: no checkpoint {name or 'yet'}; there are: {there}")


def find_model(model: Path | None, runs_dir: Path) -> RunFolder:
    """The named model folder, or the run trained last.

    Args:
        model: a run folder; None for ``runs_dir/latest``.
        runs_dir: where runs are kept.

    Raises:
        CheckpointError: saying how to get a model.
    """
    path = model or runs_dir / "latest"
    if not (path / "config.yaml").exists():
        if model is None:
            raise CheckpointError(
                f"no model yet: there is no {path}. Train one with: nmt train --config configs/quickstart.yaml "
                f"(or name one with --model)"
            )
        raise CheckpointError(
            f"{path}: not a model folder (it has no config.yaml); "
            f"name the folder that nmt train made, such as runs/quickstart"
        )
    return RunFolder(path)


def remember_latest(run: RunFolder) -> None:
    """Point ``latest``, beside the run's folder, at it."""
    replace_symlink(run.path.parent / "latest", run.path.name)


def replace_symlink(link: Path, target: str) -> None:
    """Make `link` a relative symbolic link to `target`, replacing an older one in one step."""
    tmp_path = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    tmp_path.unlink(missing_ok=True)
    tmp_path.symlink_to(target)
    os.replace(tmp_path, link)
