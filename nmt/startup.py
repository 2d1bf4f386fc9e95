"""Make commands start sooner."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def fast_imports() -> Iterator[None]:
    """Run the imports in this block, such as that of torch, without garbage collection.

    While the number of objects grows, Python searches all of them for garbage again and again. Imports create a million
    objects and leave no garbage, and these searches take a tenth of their time. Later searches leave out the imported
    objects, too.
    """
    was_enabled, had_torch = gc.isenabled(), "torch" in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if not had_torch and "torch" in sys.modules:
            gc.freeze()
        if was_enabled:
            gc.enable()
