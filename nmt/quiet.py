"""Quiet mode, which prints only warnings and results: ``nmt --quiet``, or NMT_QUIET in the environment."""

import os

_VARIABLE = "NMT_QUIET"


def be_quiet() -> None:
    """Turn on quiet mode, in this process and in those that it starts."""
    os.environ[_VARIABLE] = "1"


def is_quiet() -> bool:
    """Return whether quiet mode is on."""
    return bool(os.environ.get(_VARIABLE))


def no_bar() -> bool | None:
    """Return the value for tqdm's `disable`: True for no bar, None for a bar if standard error is a terminal."""
    return True if is_quiet() else None
