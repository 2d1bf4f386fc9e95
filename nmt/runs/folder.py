"""The files of a run, the lock of its folder, and the pointer to the run that was trained last."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from nmt.config import Config
from nmt.errors import CheckpointError
from nmt.runs.hub import HUB, download
from nmt.runs.pointers import follow, point

RUNS_DIR = Path(str(Config.model_fields["runs_dir"].default))  # where the commands look for the run trained last
_LOCK, _HOLDER = ".lock", ".holder"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run. The folder is self-contained and can be moved."""

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
    def aligner(self) -> Path:
        """The word aligner, if the run has one."""
        return self.path / "aligner"

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
        """The file with the log messages of training."""
        return self.path / "train.log"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def curve(self) -> Path:
        """The training curve as a picture."""
        return self.path / "curve.png"

    def refuse_strange_files(self) -> None:
        """Refuse a folder that holds pipes, devices or links that lead out of it, since it may come from a stranger.

        The folder itself may be a link.

        Raises:
            CheckpointError: naming the first such file.
        """
        inside = _target(self.path)
        for folder, folders, files in os.walk(inside):
            for name in (*folders, *files):
                path = Path(folder, name)
                if path.is_symlink():
                    if not (target := _target(path)).is_relative_to(inside):
                        raise CheckpointError(f"{path}: leads out of the model folder, to {target}; it is not followed")
                elif name in files and not stat.S_ISREG(path.lstat().st_mode):
                    raise CheckpointError(
                        f"{path}: is a pipe or a device, which cannot be part of a model folder; remove it"
                    )

    @contextmanager
    def locked(self, work: str = "is training this run") -> Iterator[None]:
        """Lock the folder against other processes that would write to it; create it if it is missing.

        If the folder is still empty at the end, it is removed again.

        Args:
            work: what this process does here, for the error message of other processes.

        Raises:
            CheckpointError: if another process holds the lock (a process that died does not), if the folder cannot be
                locked, or if a link in it leads out of it.
        """
        self.refuse_strange_files()
        self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / _LOCK
        lock = FileLock(path)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise CheckpointError(f"{self.path} is busy: {self._holder()} already") from None
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(
                f"{path}: the run cannot be locked: {reason}. Keep runs on a file system that has locks, or make sure "
                f"that the folder is writable (--set runs_dir=...)"
            ) from None
        holder = self.path / _HOLDER  # a separate file, since some systems cannot read a locked one
        try:
            holder.write_text(f"process {os.getpid()} {work}", encoding="utf-8")
            yield
        finally:
            with suppress(OSError):
                holder.unlink(missing_ok=True)
                if os.listdir(self.path) == [_LOCK]:
                    path.unlink()
                    self.path.rmdir()
            lock.release()

    def is_locked(self) -> bool:
        """Return whether a process holds the lock of the folder.

        Raises:
            OSError: if that cannot be found out.
        """
        lock = self.path / _LOCK
        if not lock.exists():
            return False
        try:
            FileLock(lock).acquire(blocking=False).lock.release()
        except Timeout:
            return True
        return False

    def _holder(self) -> str:
        """Return which process holds the lock, and what it does."""
        with suppress(OSError, UnicodeDecodeError):
            if said := (self.path / _HOLDER).read_text(encoding="utf-8")[:100].strip():
                return said
        return "another process is training this run"

    def checkpoint(self, name: str | None = None) -> Path:
        """Return the path of the checkpoint `name`; without a name, that of the best one, or else of the last one.

        Raises:
            CheckpointError: if there is no such checkpoint.
        """
        if name is not None and Path(name).name != name:
            raise CheckpointError(f"{name}: the name of a checkpoint cannot contain folders")
        for candidate in [name] if name else ["best", "last"]:
            if (follow(self.checkpoints / candidate) / "model.safetensors").exists():
                return self.checkpoints / candidate
        there = (
            ", ".join(sorted(path.name for path in self.checkpoints.iterdir())) if self.checkpoints.is_dir() else "none"
        )
        raise CheckpointError(f"{self.path}: no checkpoint {name or 'yet'}; there are: {there}")


def _target(path: Path) -> Path:
    """Return where a path leads, following symbolic links and the text files that replace them.

    Raises:
        CheckpointError: if its links lead in a circle.
    """
    try:
        return follow(path).resolve()
    except (OSError, RuntimeError):  # Python 3.13 returns the path itself
        raise CheckpointError(f"{path}: its links form a circle; remove it") from None


def resolved(path: Path) -> Path:
    """Return the file or folder that a path leads to now; later changes to its links do not affect the result.

    A relative path stays relative if it leads to a place inside the working directory.
    """
    target, here = _target(path), Path.cwd()
    return target.relative_to(here) if not path.is_absolute() and target.is_relative_to(here) else target


def find_model(model: Path | None, runs_dir: Path = RUNS_DIR) -> RunFolder:
    """Return the named model folder, or the run trained last, with its links resolved.

    Args:
        model: a run folder, a model that `nmt pack` wrote, or ``hub:OWNER/NAME`` for a model that `nmt push` uploaded;
            None for ``runs_dir/latest``.
        runs_dir: the folder of the runs.

    Raises:
        CheckpointError: if there is no such model; the message says how to get one.
    """
    if model is not None and model.as_posix().startswith(HUB):
        model = download(model.as_posix().removeprefix(HUB))
    if model is not None and model.is_file() and not follow(model).is_dir():
        from nmt.runs.pack import unpacked  # imports torch

        return RunFolder(resolved(unpacked(model)))
    path = follow(model or runs_dir / "latest")
    if not (path / "config.yaml").exists():
        if model is None:
            missing = f"{path} leads nowhere" if path.is_symlink() else f"there is no {path}"
            if there := _runs_in(runs_dir):
                raise CheckpointError(f"{missing}, so name a model with -m; the runs here: {', '.join(there)}")
            raise CheckpointError(
                f"no model yet: {missing}. Train one with: nmt train configs/quickstart.yaml, or on two files of your "
                f"own with: nmt init FILE FILE (or name one with -m)"
            )
        raise CheckpointError(
            f"{path}: not a model folder (it has no config.yaml); name the folder that nmt train made, such as "
            f"{runs_dir}/quickstart"
        )
    return RunFolder(resolved(path))


def _runs_in(runs_dir: Path) -> list[str]:
    """Return the run folders with weights in a folder of runs, including those in its folders of comparisons."""
    found = {path for depth in ("*", "*/*") for path in runs_dir.glob(f"{depth}/config.yaml")}
    trained = [path.parent for path in found if any((path.parent / "checkpoints").glob("[!.]*/model.safetensors"))]
    return sorted(str(path) for path in trained if path.name != "latest")


def remember_latest(run: RunFolder) -> None:
    """Point ``latest``, next to the run's folder, to that folder."""
    point(run.path.parent / "latest", run.path.name)
