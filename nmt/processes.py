"""Several processes that do one work: who this one is, and what they tell one another.

They are started by torchrun, or by `--processes N`, which starts torchrun. In training each takes its share of the
pairs of every batch, and gradients are summed over all of them; so the number of processes changes neither the order of
the data nor, to rounding, an update's gradient. In translating, aligning and scoring each takes a block of the lines.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
from torch import distributed

from nmt.errors import ConfigError, TrainingError

log = logging.getLogger(__name__)

Item = TypeVar("Item")
_TIMEOUT = timedelta(hours=2)  # others wait so long for the first process, which may have a corpus to prepare


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; alone by default.

    Attributes:
        rank: its number, from 0; the first one writes.
        size: how many there are.
        local_rank: its number on this machine, from 0.
        local_size: how many there are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    @contextlib.contextmanager
    def joined(cls, device: str = "cpu") -> Iterator["Processes"]:
        """Join the others, if torchrun has started this process.

        Args:
            device: the setting `training.device`; GPUs talk over NCCL, processors over gloo.

        Raises:
            ConfigError: if the others cannot be reached.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "MASTER_ADDR" not in os.environ:
            yield cls()
            return
        rank, size, local_rank, local_size = (
            int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        )
        on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
        try:
            if on_gpu:
                torch.cuda.set_device(local_rank)  # where NCCL exchanges what is no tensor
            distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=_TIMEOUT)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"process {rank} of {size} does not reach the others: {error}") from None
        try:
            yield cls(rank, size, local_rank, local_size)
        finally:
            with contextlib.suppress(RuntimeError):
                distributed.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Return the setting `training.device` for this process: with several GPUs each takes its own."""
        on_gpu = name == "cuda" or (name == "auto" and torch.cuda.is_available())
        return f"cuda:{self.local_rank}" if self.size > 1 and on_gpu else name

    def share(self, items: Sequence[Item] | Any) -> Any:
        """Return every `size`-th item, beginning with this process's own; all shares together are all items."""
        return items[self.rank :: self.size]

    def seed(self, seed: int, update: int) -> int:
        """Return the seed of this process's dropout in an update."""
        return int(torch.tensor([seed, update, self.rank]).mul(torch.tensor([1_000_003, 1_009, 1])).sum()) % 2**63

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sums of the processes' tensors, in place.

        Raises:
            TrainingError: if another process has ended.
        """
        if self.size > 1:
            with self._others("add up gradients"):
                distributed.all_reduce(values)
        return values

    def gather(self, items: list[Item]) -> list[Item]:
        """Return the items of all processes as if none had been shared out (see `share`), in the first process.

        Raises:
            TrainingError: if another process has ended.
        """
        if self.size == 1:
            return items
        found: list[Any] = [None] * self.size if self.is_first else []
        with self._others("collect results"):
            distributed.gather_object(items, found if self.is_first else None)
        if not self.is_first:
            return items
        joined: list[Item] = []
        for at in range(max(map(len, found))):
            joined += [part[at] for part in found if at < len(part)]
        return joined

    def block(self, items: list[Item]) -> tuple[int, list[Item]]:
        """Return this process's block of items, and where it begins; the blocks of all follow each other."""
        start, end = (len(items) * rank // self.size for rank in (self.rank, self.rank + 1))
        return start, items[start:end]

    def joined_blocks(self, mine: list[Item]) -> list[Item]:
        """Return the blocks of all processes, one after the other, in the first process; in others this one's own.

        Raises:
            TrainingError: if another process has ended.
        """
        return [item for block in self.gather([mine]) for item in block] if self.size > 1 else mine

    def told(self, value: Item) -> Item:
        """Return the first process's value.

        Raises:
            TrainingError: if another process has ended.
        """
        if self.size == 1:
            return value
        box = [value]
        with self._others("hear from the first"):
            distributed.broadcast_object_list(box)
        return box[0]

    def wait(self) -> None:
        """Wait until all processes are here.

        Raises:
            TrainingError: if another process has ended.
        """
        if self.size > 1:
            with self._others("wait for the others"):
                distributed.barrier()

    @contextlib.contextmanager
    def first_then_others(self) -> Iterator[None]:
        """Let the first process do something, and the others the same when it has finished; all go on together."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()
        self.wait()

    @contextlib.contextmanager
    def _others(self, what: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise TrainingError(
                f"process {self.rank} of {self.size} could not {what}: another process has ended ({error}); its own "
                f"message says why. A training goes on from its last checkpoint with the same command"
            ) from None


def start_processes(count: int, arguments: Sequence[str]) -> NoReturn:
    """Let torchrun start this program `count` times on this machine, and end as the processes do.

    Args:
        count: how many processes.
        arguments: of the program, as on the command line.

    Raises:
        SystemExit: with the status of the first process that failed, or 128 + the signal's number after a signal; 0 if
            all ended well.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = ["--standalone", f"--nproc-per-node={count}", *_signals()]
    try:
        run.run(run.parse_args([*options, "-m", "nmt", *arguments]))  # type: ignore[no-untyped-call]
    except SignalException as stopped:
        raise SystemExit(128 + stopped.sigval) from None
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode < 0:  # by a signal, so that it could not say anything itself
            log.error("process %d was ended by signal %d", rank, -failure.exitcode)
        raise SystemExit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode) from None
    raise SystemExit(0)


def _signals() -> list[str]:
    """Return the option by which torchrun hands on SIGUSR1 too, where it has one."""
    from torch.distributed import run

    option = "--signals-to-handle"
    known = option in run.get_args_parser().format_help()
    return [f"{option}=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"] if known else []
