"""Errors that the user can fix; each is shown as one message, without a traceback."""

import logging


class NmtError(Exception):
    """An error that the user can fix. The message says what is wrong, where, and how to fix it."""


class ConfigError(NmtError):
    """A configuration that cannot be run; the message lists every problem at once."""


class DataError(NmtError):
    """Text, columns or files that cannot be read as parallel data."""


class TokenizerError(NmtError):
    """A tokenizer that cannot be trained or loaded."""


class CheckpointError(NmtError):
    """A run folder or checkpoint that is missing, damaged or incompatible."""


class ModelError(NmtError):
    """A model whose numbers cannot be used, or that cannot do what is required, such as be exported."""


class TrainingError(NmtError):
    """Training that cannot go on, such as a loss that is no longer a number."""


class AlignmentError(NmtError):
    """An alignment matrix or link file that is invalid or cannot be made."""


NOT_FINITE = (
    "the model gives no finite probabilities: its training diverged (then train a new run with a lower "
    "training.optimizer.lr or with training.precision=fp32), or its weights are damaged (try another --checkpoint)"
)
_MEMORY_TEXTS = (
    "allocate memory",
    "not enough memory: you tried to allocate",
    "MPS backend out of memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def out_of_memory(error: BaseException) -> bool:
    """Return True if memory ran out, on the processor or on a GPU; torch reports this in several ways."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_TEXTS)


def escape_controls(text: str) -> str:
    """Return a message with its control characters escaped, since names from files may contain terminal commands."""
    return "".join(
        f"\\x{ord(char):02x}" if (char < " " and char not in "\n\t") or "\x7f" <= char <= "\x9f" else char
        for char in text
    )


class EscapingFormatter(logging.Formatter):
    """A formatter for log messages that escapes control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message as text."""
        return escape_controls(super().format(record))
