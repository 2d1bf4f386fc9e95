import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nmt.threads import thread_environment

with thread_environment():  # as the program does, or tests of it crawl beside other programs
    import torch

from nmt.config import Config
from nmt.data.tokenizer import Tokenizer
from nmt.data.tokenizer_training import train_tokenizer
from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq

SENTENCES = [
    ("a cat sleeps", "un chat dort"),
    ("the black cat sees me", "le chat noir me voit"),
    ("I love you", "je t'aime"),
    ("two big dogs eat", "deux grands chiens mangent"),
    ("we do not see them today", "nous ne les voyons pas aujourd'hui"),
    ("is it raining?", "est-ce qu'il pleut ?"),
    ("she gives it to him", "elle le lui donne"),
    ("the old house is beautiful and the garden is green", "la vieille maison est belle et le jardin est vert"),
]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _signals_arrive() -> None:
    """A shell ignores Ctrl-C and a closed terminal for what it runs in the background; tests send these signals."""
    for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):  # Windows has no SIGHUP
        if (kind := getattr(signal, name, None)) is not None and signal.getsignal(kind) == signal.SIG_IGN:
            signal.signal(kind, usual)


def _reset(log: logging.Logger) -> None:
    log.handlers[:], log.propagate = [], True
    log.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _fresh_logger() -> Iterator[None]:
    """What one test sets up of the program's log is not left to the next."""
    log = logging.getLogger("nmt")
    _reset(log)
    yield
    _reset(log)


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Config]:
    """A small configuration whose data is a few written sentences; sections can be replaced."""
    for split in ("train", "valid", "test"):
        for side, suffix in enumerate(("en", "fr")):
            (tmp_path / f"{split}.{suffix}").write_text(
                "".join(pair[side] + "\n" for pair in SENTENCES), encoding="utf-8"
            )

    def make(**sections: Any) -> Config:
        values: dict[str, Any] = {
            "name": "tiny",
            "runs_dir": str(tmp_path / "runs"),
            "data": {
                "root": str(tmp_path),
                **{split: {"src": f"{split}.en", "tgt": f"{split}.fr"} for split in ("train", "valid", "test")},
                "cache_dir": str(tmp_path / "cache"),
            },
            "tokenizer": {"vocab_size": 120},
            "model": {
                "embedding_size": 12,
                "encoder": {"hidden_size": 8},
                "decoder": {"hidden_size": 16},
                "attention": {"size": 10},
            },
            "training": {
                "epochs": 2,
                "batch_unit": "sentences",
                "batch_size": 3,
                "precision": "fp32",
                "device": "cpu",
                "threads": 1,
                "tensorboard": False,
                "log_every": 1,
                "validation": {"sentences": 4},
                "guided_alignment": {"enabled": False},
            },
        }
        for name, section in sections.items():
            values[name] = _merged(values.get(name), section)
        if values["model"]["decoder"].get("type") == "transformer":
            del values["model"]["attention"]
        return Config.model_validate(values)

    return make


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict) and not {"type", "score"} & new.keys():
        return old | {key: _merged(old.get(key), value) for key, value in new.items()}
    return new


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    from nmt.config import TokenizerConfig

    return train_tokenizer(TokenizerConfig(vocab_size=120), lambda: SENTENCES)


@pytest.fixture
def make_model(make_config: Callable[..., Config]) -> Callable[..., Seq2Seq]:
    """A random model in evaluation mode; keyword arguments are the configuration's model section."""

    def make(size: int = 120, **model: Any) -> Seq2Seq:
        torch.manual_seed(7)
        built = build_model(make_config(model=model), size, size)
        for name, parameter in built.named_parameters():
            if name.endswith("log_width"):
                continue
            # Far from the initial near-uniform attention, so that differences show.
            torch.nn.init.normal_(parameter, std=0.6)
        return built.eval()

    return make
