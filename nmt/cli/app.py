"""The program: what holds for every command."""

import importlib.metadata
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nmt.errors import NmtError


class _Group(TyperGroup):
    """Ends with a message and an exit code where the user can mend something, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NmtError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader of our output left, as `head` does
            _let_go_of_output()
            raise typer.Exit(0) from None
        except OSError as error:  # no such folder, no permission, no space left
            typer.echo(f"error: {error.filename or 'the output'}: {error.strerror or error}", err=True)
            if error.filename is None:
                _let_go_of_output()
            raise typer.Exit(1) from None


def _let_go_of_output() -> None:
    """What could not be written is not tried again at exit, which would end the process with another code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train attention-based translation models, and see which word looked at which.",
)


def _version(show: bool) -> None:
    if show:
        typer.echo(importlib.metadata.version("nmt"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    app(prog_name="nmt")
