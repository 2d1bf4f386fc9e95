"""The program `nmt`; `python -m nmt` is the same."""

import os
import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends it as quietly as later."""
    # numpy's products here are small, and the word aligner already uses every core; threads of numpy's own would only
    # wait for one another. numpy reads this when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from nmt.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
