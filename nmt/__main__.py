"""The entry point of the program `nmt`, and of `python -m nmt`."""

import sys

from nmt.startup import fast_imports
from nmt.threads import thread_environment


def main() -> None:
    """Run the command line; Ctrl-C during the imports ends the program as quietly as it does later."""
    try:
        with thread_environment():
            with fast_imports():
                from nmt.cli import main as run

            run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
