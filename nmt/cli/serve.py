"""`nmt serve`: options and help."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from nmt.cli.app import app
from nmt.cli.options import BeamOption, CheckpointOption, PrecisionOption, SetForModelOption, with_search

_NEEDED = ("starlette", "uvicorn")


@app.command()
def serve(
    models: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            "-m",
            help="Run folder; several can be compared. [default: the run trained last]",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="The run folder of a training to watch.", show_default=False),
    ] = None,
    checkpoint: CheckpointOption = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Set 0.0.0.0 to accept requests from other machines.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 chooses a free one.")
    ] = 5000,
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", envvar="NMT_API_KEY", help="The key that clients must send.", show_default=False),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            "--cors",
            help="Another site whose pages may send requests, such as https://example.org. Repeatable.",
            show_default=False,
        ),
    ] = None,
    max_characters: Annotated[int, typer.Option(min=1, help="The maximum number of characters in a request.")] = 20_000,
    max_waiting: Annotated[int, typer.Option(min=1, help="The maximum number of lines that wait for a model.")] = 2_000,
    beam: BeamOption = None,
    precision: PrecisionOption = None,
    overrides: SetForModelOption = None,
) -> None:
    """Serve a page that translates while you type. Other programs use LibreTranslate's interface."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        from nmt.errors import ConfigError

        raise ConfigError(f"nmt serve needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    import logging

    from nmt.errors import EscapingFormatter
    from nmt.quiet import is_quiet
    from nmt.serve.run import ServeOptions, run_serve

    log = logging.getLogger("nmt")  # nmt.runtime would import torch, and the page need not wait for it
    handler = logging.StreamHandler()
    handler.setFormatter(EscapingFormatter())
    log.addHandler(handler)
    log.setLevel(logging.WARNING if is_quiet() else logging.INFO)
    options = ServeOptions(
        models or [], checkpoint, with_search(overrides, beam, precision), host, port, api_key, cors or [],
        max_characters, max_waiting, run,
    )  # fmt: skip
    for line in run_serve(options):
        typer.echo(line)
