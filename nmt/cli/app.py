"""The program: the behaviour that all commands share."""

import errno
import os
import sys
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from nmt import __version__
from nmt.errors import NmtError, escape_controls, out_of_memory
from nmt.quiet import be_quiet

_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class _Group(TyperGroup):
    """A group that reports errors that the user can fix by a message and an exit code, never by a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        _open_missing_streams()
        _write_utf8(sys.stdout, "strict")
        _write_utf8(sys.stderr, "backslashreplace")
        try:
            return super().invoke(ctx)
        except NmtError as error:
            raise _failed(str(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader of our output left, as `head` does
            _discard_output()
            raise typer.Exit(0) from None
        except OSError as error:  # no such folder, no permission, no space left
            in_output = error.filename is None and error.errno in _OUTPUT_ERRORS
            where = error.filename or ("the output" if in_output else type(error).__name__)
            failed = _failed(f"{where}: {error.strerror or error}")
            if in_output:
                _discard_output()
            raise failed from None
        except (MemoryError, RuntimeError) as error:
            if out_of_memory(error):
                raise _failed("memory ran out; close other programs, or lower the batch size") from None
            if "can't start new thread" in str(error):
                raise _failed(
                    "the system lets this program start no more threads; raise the limit of processes (ulimit -u), or "
                    "lower --set training.threads"
                ) from None
            raise


def _open_missing_streams() -> None:
    """Replace standard streams that the caller has closed by empty ones."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (open to the end)


def _failed(message: str) -> typer.Exit:
    """Print a message and return the exit that follows it."""
    typer.echo(escape_controls(f"error: {message}"), err=True)
    return typer.Exit(1)


def _write_utf8(stream: TextIO, errors: str) -> None:
    """Make a stream write UTF-8 regardless of the locale, since every command handles text of any language."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors=errors)


def _discard_output() -> None:
    """Discard the rest of the output; otherwise Python would try to write it at exit and change the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train attention-based translation models, and see which word attends to which.",
)


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only warnings and results, as NMT_QUIET=1 does.")
    ] = False,
) -> None:
    if quiet:
        be_quiet()


def main() -> None:
    """Run the command line."""
    app(prog_name="nmt")
