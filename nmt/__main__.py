"""The program `nmt`; `python -m nmt` is the same."""

import sys

from nmt.threads import thread_environment


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends it as quietly as later."""
    try:
        with thread_environment():
            from nmt.cli import main as run

            run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
