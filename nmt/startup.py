"""What makes a command start sooner."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def fast_imports() -> Iterator[None]:
    """Import torch and everything else inside without looking for garbage.

    Python looks through all objects again and again while their number grows. Imports make a million of them and
    leave no garbage, so that is a tenth of the time that they take. What was imported is left out of later looks, too.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
