"""Kill, starve and damage a training run, again and again, and count what does not survive.

    python scripts/torture.py --trials 100

One small run with every source of randomness on (dropout, word dropout, subword sampling, teacher forcing 0.5,
accumulation, validation in the middle of epochs) is trained undisturbed. Then the same run is disturbed and resumed
until it ends. It must end with the same bytes: weights, optimizer, schedule, random generators, position in the data,
best score and logged losses. After every fault, the folder must hold a usable model if it held one before, and no
complete checkpoint may be lost. Processes are forked, so this needs Linux or macOS.
"""

import logging
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import torch
import typer
from torture_run import config_of, fingerprint, in_a_child, write_corpus

import nmt.runs.checkpoint as checkpoints
from nmt.commands.train import run_train
from nmt.config import Config
from nmt.runs.checkpoint import intact_checkpoint, newest_checkpoint
from nmt.runs.folder import RunFolder
from nmt.runs.load import load_model
from nmt.training.trainer import Trainer


@dataclass
class Tally:
    """The results of one kind of fault.

    Attributes:
        fault: its name.
        trials: how often it was tested.
        unusable: folders without a usable model, and runs that ended with a message that was not expected.
        differences: runs that ended with another result than the undisturbed one.
        lost: trials in which complete checkpoints were lost.
        messages: what went wrong.
    """

    fault: str
    trials: int = 0
    unusable: int = 0
    differences: int = 0
    lost: int = 0
    messages: set[str] = field(default_factory=set)


def train_slowly(config: Config) -> None:
    """Train with checkpoint writing slowed down, so that a random instant often falls into it."""

    def slowed(function: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*args: Any, **options: Any) -> Any:
            time.sleep(0.01)
            result = function(*args, **options)
            time.sleep(0.01)
            return result

        return slow

    for module, name in (
        (checkpoints, "save_weights"),
        (torch, "save"),
        (os, "replace"),
        (os, "fsync"),
        (shutil, "rmtree"),
    ):
        setattr(module, name, slowed(getattr(module, name)))
    run_train(config)


def update_of(run: RunFolder) -> int:
    """Return the update of the newest complete checkpoint, or 0 if there is none yet."""
    kept = newest_checkpoint(run.checkpoints)
    return int(kept.name.removeprefix("step-")) if kept else 0


def check(run: RunFolder, tally: Tally, before: int) -> int:
    """Check a run folder after a fault, and count what is wrong.

    Args:
        run: the run folder.
        tally: where to count.
        before: the update of the newest checkpoint before the fault; 0 if there was none.

    Returns:
        The update of the newest checkpoint now.
    """
    tally.trials += 1
    after = update_of(run)
    if before:
        try:
            load_model(run.path).translator.translate(["the cat sees my dog"])
        except Exception as error:
            tally.unusable += 1
            tally.messages.add(str(error))
    tally.lost += after < before
    return after


def finish(config: Config, tally: Tally, reference: dict[str, Any]) -> None:
    """Resume the run and let it end undisturbed, compare it with the reference, and remove it."""
    code, message = in_a_child(lambda: run_train(config))
    run = RunFolder(config.run_dir)
    same = code == 0 and fingerprint(run) == reference
    if not same:
        tally.differences += 1
        tally.messages.add(message or "the result differs")
    shutil.rmtree(run.path)


def kills(config: Config, trials: int, seconds: float, reference: dict[str, Any], draw: random.Random) -> Tally:
    """Kill a run at random instants and resume it until it has finished; then begin the next one."""

    def disturb() -> tuple[int, str]:
        return in_a_child(lambda: train_slowly(config), kill_after=draw.uniform(0.0, seconds))

    tally = Tally("SIGKILL at a random instant")
    return again_and_again(config, tally, trials, disturb, lambda message: False, 0.1, reference, draw)


def again_and_again(
    config: Config,
    tally: Tally,
    trials: int,
    disturb: Callable[[], tuple[int, str]],
    is_expected: Callable[[str], bool],
    taken_up: float,
    reference: dict[str, Any],
    draw: random.Random,
) -> Tally:
    """Disturb runs for a number of trials, and return the tally.

    A run is disturbed until it has finished. After each fault it may, with probability `taken_up`, be resumed and end
    undisturbed. A run that ends with a message that is not expected counts as unusable.

    Args:
        config: the configuration of the run.
        tally: where to count.
        trials: how many faults.
        disturb: runs the training with a fault, and returns its exit code and message.
        is_expected: whether a message is the right one for the fault.
        taken_up: the probability that a run ends undisturbed after a fault.
        reference: the fingerprint of the undisturbed run.
        draw: the random generator.
    """
    run, before = RunFolder(config.run_dir), 0
    while tally.trials < trials:
        code, message = disturb()
        if code == 99 or (code == 1 and not is_expected(message)):
            tally.unusable += 1
            tally.messages.add(message)
        before = check(run, tally, before)
        if code == 0 or draw.random() < taken_up:
            finish(config, tally, reference)
            before = 0
    if run.path.exists():
        finish(config, tally, reference)
    return tally


def damaged(config: Config, trials: int, seconds: float, reference: dict[str, Any], draw: random.Random) -> Tally:
    """Truncate, change or remove a file of the newest checkpoint, or remove a link, and resume the run."""
    tally, run = Tally("damaged or vanished files"), RunFolder(config.run_dir)
    while tally.trials < trials:
        while update_of(run) < 6:
            in_a_child(lambda: run_train(config), kill_after=draw.uniform(0.0, seconds))
        if update_of(run) >= 30:
            shutil.rmtree(run.path)
            continue
        checkpoint = newest_checkpoint(run.checkpoints)
        assert checkpoint is not None
        victim = draw.choice(["model.safetensors", "state.pt", "manifest.json", "best", "last"])
        if victim in ("best", "last"):
            (run.checkpoints / victim).unlink(missing_ok=True)
        else:
            harm(checkpoint / victim, draw)
        tally.trials += 1
        try:
            load_model(run.path).translator.translate(["the cat sees my dog"])
            intact_checkpoint(run)
        except Exception as error:
            tally.unusable += 1
            tally.messages.add(f"{victim}: {error}")
        finish(config, tally, reference)
    return tally


def harm(path: Path, draw: random.Random) -> None:
    """Truncate a file, flip one of its bits, or remove it."""
    data = bytearray(path.read_bytes())
    kind = draw.choice(["truncate", "flip", "remove"])
    if kind == "remove":
        path.unlink()
        return
    if kind == "truncate":
        data = data[: draw.randrange(len(data))]
    else:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def refused(
    config: Config, fault: str, call: str, error: OSError, trials: int, reference: dict[str, Any], draw: random.Random
) -> Tally:
    """Let all calls of the function `call` of `os` fail with `error`, from a random one on."""

    def disturb() -> tuple[int, str]:
        fails_at = draw.randint(1, 30)

        def train() -> None:
            real, calls = getattr(os, call), 0

            def refusing(*args: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls >= fails_at:
                    raise error
                return real(*args, **options)

            with mock.patch.object(os, call, refusing):
                run_train(config)

        return in_a_child(train)

    tally = Tally(fault)
    return again_and_again(
        config, tally, trials, disturb, lambda message: str(error.strerror) in message, 0.3, reference, draw
    )


def without_memory(config: Config, trials: int, reference: dict[str, Any], draw: random.Random) -> Tally:
    """Let memory run out once, at a random update; training must go on to the end.

    The halves of a batch draw other dropout masks, so the bytes cannot be the same. Another test checks that the
    mathematics is.
    """
    tally, run = Tally("memory that runs out"), RunFolder(config.run_dir)
    while tally.trials < trials:
        at, said = draw.randint(1, 25), config.run_dir.parent / "said"

        def train(at: int = at, said: Path = said) -> None:
            real, seen = Trainer._sum_losses, False

            def losses(self: Trainer, *args: Any) -> torch.Tensor:
                nonlocal seen
                if self.update == at and not seen:
                    seen = True
                    raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
                return real(self, *args)

            handler = logging.FileHandler(said, mode="w")
            logging.getLogger("nmt").addHandler(handler)
            with mock.patch.object(Trainer, "_sum_losses", losses):
                run_train(config)

        code, message = in_a_child(train)
        if code != 0 or f"memory ran out in update {at}" not in said.read_text(encoding="utf-8"):
            tally.unusable += 1
            tally.messages.add(message or "it was not said that memory ran out")
        check(run, tally, 0)
        tally.differences += code != 0 or len(fingerprint(run)["metrics"]) != len(reference["metrics"])
        shutil.rmtree(run.path)
    return tally


def no_numbers(config: Config, trials: int, reference: dict[str, Any], draw: random.Random) -> Tally:
    """Make the loss NaN once, at a random update; the run must stop with a message, and can be resumed."""
    tally, run = Tally("a loss that is not a number"), RunFolder(config.run_dir)
    while tally.trials < trials:
        at = draw.randint(1, 25)

        def train(at: int = at) -> None:
            real = Trainer._sum_losses

            def losses(self: Trainer, *args: Any) -> torch.Tensor:
                sums = real(self, *args)
                return sums * float("nan") if self.update == at else sums

            with mock.patch.object(Trainer, "_sum_losses", losses):
                run_train(config)

        code, message = in_a_child(train)
        if code != 1 or "not a finite number" not in message or "lower" not in message:
            tally.unusable += 1
            tally.messages.add(message)
        check(run, tally, 0)
        finish(config, tally, reference)
    return tally


def main(
    trials: Annotated[int, typer.Option(min=1, help="Kills; the other faults are tried a fifth as often.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the random instants.")] = 1,
) -> None:
    """Disturb a small run in many ways, and print a table of the results."""
    torch.set_num_threads(1)  # so that a forked process can compute
    draw, few = random.Random(seed), max(1, trials // 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder)
        started = time.monotonic()
        code, message = in_a_child(lambda: run_train(config_of(folder, "disturbed")))
        seconds = time.monotonic() - started
        if code != 0:
            raise SystemExit(f"the undisturbed run failed: {message}")
        config = config_of(folder, "disturbed")
        reference = fingerprint(RunFolder(config.run_dir))
        shutil.rmtree(config.run_dir)
        no_space, no_right = OSError(28, "No space left on device"), PermissionError(13, "Permission denied")
        tallies = [
            kills(config, trials, 2 * seconds, reference, draw),
            damaged(config, few, seconds, reference, draw),
            refused(config, "no space left while saving", "fsync", no_space, few, reference, draw),
            refused(config, "a folder that refuses", "mkdir", no_right, few, reference, draw),
            no_numbers(config, few, reference, draw),
            without_memory(config, few, reference, draw),
        ]
    print("| fault | trials | unusable folders | complete checkpoints lost | results that differ |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for tally in tallies:
        print(f"| {tally.fault} | {tally.trials} | {tally.unusable} | {tally.lost} | {tally.differences} |")
    for tally in tallies:
        for message in sorted(tally.messages):
            print(f"{tally.fault}: {message}")
    if any(tally.unusable or tally.lost or tally.differences for tally in tallies):
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
