"""Share work between several processes: the place of this process among them, and the communication between them.

They are started by torchrun, or by `--processes N`, which starts torchrun. In training, each process takes its share of
the pairs of every batch, and gradients are summed over all processes. The number of processes therefore changes neither
the order of the data nor, up to rounding, the gradient of an update. In translating, aligning and scoring, each process
takes a block of the lines.
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
_TIMEOUT = timedelta(hours=2)  # how long the others wait for the first process, which may have to prepare a corpus


@dataclass(frozen=True)
class Processes:
    """The place of this process among those that work together; by default it works alone.

    Attributes:
        rank: the number of this process, from 0; process 0 writes the results.
        size: the number of processes.
        local_rank: the number of this process on this machine, from 0.
        local_size: the number of processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    @contextlib.contextmanager
    def join(cls, device: str = "auto") -> Iterator["Processes"]:
        """Yield the place of this process among the others; it joins them first if torchrun has started it.

        What is on GPUs is exchanged over NCCL, everything else over gloo.

        Args:
            device: the setting `training.device`.

        Raises:
            ConfigError: if the others cannot be reached, if there is no GPU for this process, or if the environment
                does not say which process this is.
        """
        if os.environ.get("WORLD_SIZE", "1") == "1" or "MASTER_ADDR" not in os.environ:
            yield cls()
            return
        rank, size, local_rank, local_size = map(_place, ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"))
        on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
        if on_gpu:
            _take_gpu(device, local_rank, size)
        elif device.startswith("mps"):
            raise ConfigError(f"{size} processes cannot share training.device {device}; set it to auto or cpu")
        try:
            distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_TIMEOUT)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"process {rank} of {size} cannot reach the others: {error}") from None
        ended_well = False
        try:
            yield cls(rank, size, local_rank, local_size)
            ended_well = True
        finally:
            # After an error, NCCL would wait here for the others, which wait for this process in another place. They
            # are told by torchrun when this process has ended.
            if ended_well or not on_gpu:
                with contextlib.suppress(RuntimeError):
                    distributed.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Return the setting `training.device` for this process; each of several processes uses its own GPU."""
        if self.size == 1:
            return name
        if name == "auto":  # gloo cannot sum what is on Apple's GPU
            name = "cuda" if torch.cuda.is_available() else "cpu"
        return f"cuda:{self.local_rank}" if name == "cuda" else name

    def shard(self, items: Sequence[Item] | Any) -> Any:
        """Return this process's share, which is every `size`-th item; the shares of all processes are all the items."""
        return items[self.rank :: self.size]

    def seed(self, seed: int, update: int) -> int:
        """Return the seed for this process's dropout in an update."""
        return int(torch.tensor([seed, update, self.rank]).mul(torch.tensor([1_000_003, 1_009, 1])).sum()) % 2**63

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over all processes, in place, and return it.

        Raises:
            TrainingError: if another process has ended.
        """
        if self.size > 1:
            with self._others("add up gradients"):
                distributed.all_reduce(values)
                if values.is_cuda:  # NCCL reports that another process has ended only to those who wait for the sum
                    torch.cuda.current_stream(values.device).synchronize()
        return values

    def gather(self, items: list[Item]) -> list[Item]:
        """Return, in the first process, the items of all processes in the order that they had before `shard`.

        Every other process gets its own items back.

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
        """Return the start of this process's block of items, and the block; the blocks are consecutive."""
        start, end = (len(items) * rank // self.size for rank in (self.rank, self.rank + 1))
        return start, items[start:end]

    def gather_blocks(self, mine: list[Item]) -> list[Item]:
        """Return, in the first process, the blocks of all processes as one list; every other process gets its own back.

        Raises:
            TrainingError: if another process has ended.
        """
        return [item for block in self.gather([mine]) for item in block] if self.size > 1 else mine

    def broadcast(self, value: Item) -> Item:
        """Return the first process's value, in every process.

        Raises:
            TrainingError: if another process has ended.
        """
        if self.size == 1:
            return value
        box = [value]
        with self._others("hear from the first"):
            distributed.broadcast_object_list(box)
        return box[0]

    def barrier(self) -> None:
        """Wait until all processes have reached this point.

        Raises:
            TrainingError: if another process has ended.
        """
        if self.size > 1:
            with self._others("wait for the others"):
                distributed.all_reduce(torch.zeros(1))  # a barrier over gloo, also among processes that use GPUs

    @contextlib.contextmanager
    def first_process_first(self) -> Iterator[None]:
        """Run the block in the first process, then in the others; afterwards all of them go on together."""
        if not self.is_first:
            self.barrier()
        yield
        if self.is_first:
            self.barrier()
        self.barrier()

    @contextlib.contextmanager
    def _others(self, what: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise TrainingError(
                f"process {self.rank} of {self.size} could not {what}: another process has ended ({error}); its own "
                f"message says why. The same command resumes a training from its last checkpoint"
            ) from None


def start_processes(count: int, arguments: Sequence[str]) -> NoReturn:
    """Let torchrun start this program `count` times on this machine, and exit with the status of these processes.

    Args:
        count: the number of processes.
        arguments: the arguments of the program, as on the command line.

    Raises:
        ConfigError: on Windows.
        SystemExit: with the status of the first process that failed, or 128 + the signal's number after a signal; 0 if
            all ended well.
    """
    if os.name == "nt":
        raise ConfigError("on Windows, torch cannot start several processes that work together; use one")
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = ["--standalone", f"--nproc-per-node={count}", *_options_for_stopping()]
    try:
        run.run(run.parse_args([*options, "-m", "nmt", *arguments]))  # type: ignore[no-untyped-call]
    except SignalException as stopped:
        raise SystemExit(128 + stopped.sigval) from None
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode < 0:  # ended by a signal, so it could not report anything itself
            log.error("process %d was ended by signal %d", rank, -failure.exitcode)
        raise SystemExit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode) from None
    raise SystemExit(0)


def _options_for_stopping() -> list[str]:
    """Return options of torchrun for stopping; those that this version of torchrun does not have are left out.

    It then forwards SIGUSR1 as well, and gives the processes as long to validate and save as SLURM's script does in
    docs/scale.md.
    """
    from torch.distributed import run

    options = {"--signals-to-handle": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1", "--shutdown-timeout": "240"}
    known = run.get_args_parser().format_help()
    return [f"{option}={value}" for option, value in options.items() if option in known]


def _place(name: str) -> int:
    """Return a number that torchrun gives to each process in its environment.

    Raises:
        ConfigError: if it is missing or not a number.
    """
    value = os.environ.get(name)
    if value is None or not value.isdecimal():
        raise ConfigError(
            f"WORLD_SIZE says that {os.environ['WORLD_SIZE']} processes work together, but {name} is "
            f"{'not set' if value is None else repr(value)}; start them with torchrun or --processes, or unset "
            f"WORLD_SIZE"
        )
    return int(value)


def _take_gpu(device: str, local_rank: int, size: int) -> None:
    """Make the GPU with this process's number on its machine the one that it uses.

    Raises:
        ConfigError: if the device is a GPU with a number, or if there are fewer GPUs than processes.
    """
    if ":" in device:
        raise ConfigError(
            f"training.device is {device}, but each of {size} processes uses a GPU of its own; set training.device to "
            f"cuda or auto, and CUDA_VISIBLE_DEVICES to the GPUs that may be used"
        )
    if local_rank >= (count := torch.cuda.device_count()):
        raise ConfigError(
            f"process {local_rank} of this machine, counted from 0, has no GPU of its own, since torch finds {count}; "
            f"start one process for each GPU, or set training.device=cpu"
        )
    torch.cuda.set_device(local_rank)
