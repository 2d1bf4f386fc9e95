"""Whether the program says nothing but warnings and its results: ``nmt --quiet``, or NMT_QUIET in the environment."""

import os

_VARIABLE = "NMT_QUIET"


def be_quiet() -> None:
    """Say nothing but warnings from now on, in this process and in those that it starts."""
    os.environ[_VARIABLE] = "1"


def is_quiet() -> bool:
    """Return True if nothing but warnings is to be said."""
    return bool(os.environ.get(_VARIABLE))


def no_bar() -> bool | None:
    """Return what tqdm's `disable` takes: True for no bar, None for one if standard error is a terminal."""
    return True if is_quiet() else None
