"""The machine: seed, threads, memory, device, precision and logging."""

import contextlib
import ctypes
import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import TypeVar

import torch
from torch.torch_version import TorchVersion

from nmt.errors import ConfigError, EscapingFormatter
from nmt.quiet import is_quiet
from nmt.threads import available_cores

log = logging.getLogger("nmt")
Item = TypeVar("Item")
Result = TypeVar("Result")
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def set_up_machine(threads: int, processes: int = 1) -> None:
    """Set the number of torch's threads, and make the process keep freed memory for reuse.

    Args:
        threads: the number of threads for one operation; 0 for one per core, divided among the processes.
        processes: the number of processes that share the cores.
    """
    torch.set_num_threads(threads or max(1, available_cores() // processes))
    # By default, glibc returns large freed buffers to the system, and every batch causes page faults for them again.
    # Without these options, training takes about 1.4 times as long.
    if (libc := _glibc()) is not None:
        for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            # A glibc that refuses this size returns 0; 32 MiB is the largest size that its manual mentions.
            if libc.mallopt(option, 1 << 30) == 0:
                libc.mallopt(option, 32 << 20)
    # Use pages of 2 MiB for large tensors, which is about 3 % faster; torch reads this at its first tensor.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def one_ahead(make: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `make(item)` for each item; a thread makes the next result while the caller uses the current one."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: Future[Result] | None = None
        for item in items:
            made, waiting = waiting, pool.submit(make, item)
            if made is not None:
                yield made.result()
        if waiting is not None:
            yield waiting.result()


def release_memory() -> None:
    """Return freed memory to the system at once, on the CPU and on a GPU.

    Otherwise, batches of many different shapes fragment the memory, and the process grows.
    """
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _glibc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:  # another system, another allocator
        return None


def set_seed(seed: int) -> None:
    """Seed Python's and torch's global generators; the order of the data has separate generators."""
    random.seed(seed)
    torch.manual_seed(seed)


def choose_device(name: str) -> torch.device:
    """Return the device called `name`, such as ``cpu`` or ``cuda:1``; ``auto`` is a GPU, also Apple's, if there is one.

    Raises:
        ConfigError: for a device this machine does not have.
    """
    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    if name.lower() in ("gpu", "nvidia") or name.lower().startswith("gpu:"):
        raise ConfigError(
            f"training.device is '{name}'; a GPU is called cuda, or cuda:0, cuda:1, ... if there are several"
        )
    if name.split(":")[0] == "cuda" and not torch.cuda.is_available():
        reason = (
            "this torch was built without CUDA (see pytorch.org for the others)"
            if torch.version.cuda is None
            else "torch finds no CUDA GPU on this machine (nvidia-smi shows those that the driver knows)"
        )
        raise ConfigError(f"training.device is '{name}', but {reason}; set training.device to cpu or auto")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"training.device is '{name}', which this machine does not have: {str(error).splitlines()[0]}"
        ) from None
    return device


_PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type of matrix products; ``auto`` is bfloat16 if the device multiplies it faster than float32.

    ``tf32`` lets an NVIDIA GPU round the factors of float32 products to 10 bits, until this function or `allow_tf32` is
    called again. With bfloat16, which has 7 bits, recurrent layers do so too, since they run in float32 there.

    Raises:
        ConfigError: for float16 on a processor.
    """
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("training.precision fp16 needs a GPU; on a CPU, use fp32 or bf16")
    if name == "fp16" and device.type == "mps" and TorchVersion(torch.__version__) < "2.8":
        raise ConfigError("training.precision fp16 needs torch 2.8 on Apple's GPUs; use fp32")
    precision = _PRECISIONS[name] if name != "auto" else torch.bfloat16 if _is_fast_in_bf16(device) else torch.float32
    allow_tf32(in_products=name == "tf32", in_rnns=name == "tf32" or precision == torch.bfloat16)
    return precision


def allow_tf32(in_products: bool, in_rnns: bool) -> None:
    """Say where an NVIDIA GPU may round the factors of float32 products; torch's default is in recurrent layers."""
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = in_products, in_rnns


def _is_fast_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and _cpu_multiplies_bf16()


def _cpu_multiplies_bf16() -> bool:
    """Return whether training on this processor is faster in bfloat16, by the measurements in docs/speed.md.

    It is faster with tiles (AMX) and with AMD's vector instructions (AVX512-BF16), and slower with Intel's vector
    instructions.
    """
    with contextlib.suppress(OSError):
        words = set(Path("/proc/cpuinfo").read_text().split())
        return "amx_bf16" in words or {"AuthenticAMD", "avx512_bf16"} <= words
    return False


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Return a context in which matrix products run in `precision`; parameters and sums stay in float32."""
    if precision == torch.float32:  # a type that autocast does not know on every device
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype=precision)


class _TqdmHandler(logging.Handler):
    """A handler that writes log lines to stderr above a progress bar, so that they do not break it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def set_up_logging() -> None:
    """Send the program's log to stderr; in quiet mode, send only the warnings."""
    handler = _TqdmHandler()
    handler.setFormatter(EscapingFormatter("%(message)s"))
    handler.setLevel(logging.WARNING if is_quiet() else logging.INFO)
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def log_to_file(path: Path) -> logging.Handler:
    """Also write the log, with times, to `path`; return the handler, so that it can be removed."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(EscapingFormatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    return handler


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Yield a list that receives the first signal to stop, which does not end the process; a second one does.

    The signals are SIGINT (Ctrl-C), SIGTERM, SIGHUP (a closed terminal) and SIGUSR1 (SLURM's warning), as far as the
    system has them. Python allows signals to be handled only in the main thread, so in others the list stays empty.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for kind, handler in previous.items():
            signal.signal(kind, handler)

    # A signal that is ignored on purpose (nohup ignores SIGHUP) stays ignored.
    previous = {kind: handler for kind in STOP_SIGNALS if (handler := signal.getsignal(kind)) != signal.SIG_IGN}
    for kind in previous:
        signal.signal(kind, receive)
    try:
        yield received
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)
