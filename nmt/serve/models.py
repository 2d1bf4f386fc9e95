"""The models that are served: loaded while the page is sent, and replaced when training writes a new checkpoint."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # these import torch, and the page can be sent before that is done
    from nmt.runs.load import LoadedModel
    from nmt.serve.batcher import Batcher

log = logging.getLogger(__name__)
_EXAMPLES = 4
_LOOK_EVERY = 2.0  # seconds between two checks for a new checkpoint


@dataclass(frozen=True)
class LoadOptions:
    """How to load models: the checkpoint (None: the best), overrides, and the maximum of waiting lines per model."""

    checkpoint: str | None
    overrides: Sequence[str]
    limit: int


class ServedModel:
    """One model folder.

    Attributes:
        name: the folder's name, made unique.
        loaded: the loaded model; None until it is loaded.
        batcher: the batcher that translates with the model; None until it is loaded.
        error: why the model could not be loaded; None if there was no error.
        swaps: how often a newer checkpoint has replaced the loaded one.
    """

    def __init__(self, name: str, folder: Path | None, options: LoadOptions):
        """Keep the arguments; `start` loads the model."""
        self.name, self.folder, self.options = name, folder, options
        self.loaded: LoadedModel | None = None
        self.batcher: Batcher | None = None
        self.error: str | None = None
        self.swaps = 0
        self._tried: Path | None = None  # the checkpoint that was looked for last
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Load the model in a thread; needs a running event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop after finishing the lines in flight."""
        if self._task is not None:
            self._task.cancel()
        if self.batcher is not None:
            await self.batcher.stop()

    async def ready(self) -> "tuple[LoadedModel, Batcher]":
        """Wait until the model is loaded, and return it with its batcher.

        Raises:
            NmtError: if it could not be loaded.
        """
        from nmt.errors import ModelError

        await self._ready.wait()
        if self.loaded is None or self.batcher is None:
            raise ModelError(self.error or "the model could not be loaded")
        return self.loaded, self.batcher

    async def _run(self) -> None:
        try:
            loaded = await asyncio.to_thread(self._load, self.folder)
        except Exception as error:  # whatever it is, those who wait for the model must hear of it
            self.error = str(error) or type(error).__name__
            log.error("%s", self.error)
            self._ready.set()
            return
        from nmt.serve.batcher import Batcher

        self.loaded = loaded
        self.batcher = Batcher(lambda: self._now().translator, self.options.limit)
        self.batcher.start()
        self._ready.set()
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await self._swap()

    def _now(self) -> "LoadedModel":
        assert self.loaded is not None  # the batcher starts only when a model is loaded
        return self.loaded

    def _load(self, folder: Path | None) -> "LoadedModel":
        from nmt.runs.load import load_model

        loaded = load_model(folder, self.options.checkpoint, self.options.overrides)
        loaded.translator.translate(["."])  # the first sentence takes longer than the others
        return loaded

    async def _swap(self) -> None:
        """Load the newer checkpoint, if training has written one; batches in flight finish with the old one.

        A checkpoint that could not be used is not tried again.
        """
        from nmt.runs.folder import resolved

        now = self._now()
        try:
            newest = resolved(now.run.checkpoint(self.options.checkpoint))
            if newest in (resolved(now.checkpoint), self._tried):
                return
            self._tried = newest
            loaded = await asyncio.to_thread(self._load, now.run.path)
            if resolved(loaded.checkpoint) != resolved(now.checkpoint):
                self.loaded = loaded
                self.swaps += 1
                log.info("%s: now using %s", self.name, loaded.checkpoint.name)
        except Exception as error:  # the old model serves on
            log.warning("%s: a newer checkpoint cannot be loaded, so the old one is kept: %s", self.name, error)

    def description(self) -> dict[str, Any]:
        """Return what the page shows about the model."""
        if self.loaded is None:
            return {"name": self.name, "loading": self.error is None, "error": self.error}
        config = self.loaded.config
        source, target = config.data.languages
        return {
            "name": self.name,
            "source": source,
            "target": target,
            "checkpoint": self.loaded.checkpoint.name,
            "encoder": config.model.encoder.type,
            "decoder": config.model.decoder.type,
            "attention": config.model.attention.score,
            "beam": self.loaded.translator.settings.beam_size,
            "alignment": self.loaded.translator.read_from
            if self.loaded.translator.aligner is None
            else self.loaded.translator.aligner.read_from,
        }


def examples_of(loaded: "LoadedModel") -> list[str]:
    """Return a few source sentences of the test data or, failing that, of the validation data; else none."""
    from nmt.data.sources import read_pairs
    from nmt.errors import NmtError

    splits: tuple[Literal["test", "valid"], ...] = ("test", "valid")
    for split in splits:
        try:
            pairs = read_pairs(loaded.source(split), split)
            return [src for src, _, _ in islice(pairs, 200) if 10 <= len(src) <= 90][:_EXAMPLES]
        except (NmtError, OSError):
            continue
    return []


def named(folders: Sequence[Path | None], options: LoadOptions) -> list[ServedModel]:
    """Return a model for each folder, named after it; a number is added to a name that is already taken."""
    models: list[ServedModel] = []
    for folder in folders:
        base = "latest" if folder is None else folder.resolve().name
        taken = {model.name for model in models}
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        models.append(ServedModel(name, folder, options))
    return models
