"""`nmt serve`: running the server of the page and the HTTP interface."""

import ipaddress
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmt.errors import ConfigError
from nmt.serve.app import Server
from nmt.serve.guard import LOCAL_HOSTS, Limits
from nmt.serve.models import LoadOptions, named

log = logging.getLogger(__name__)
_KEEP_ALIVE = 15  # seconds
_LAST_REQUESTS = 70  # seconds for requests in flight to finish, a little more than each may take


@dataclass(frozen=True)
class ServeOptions:
    """What is served, and to whom.

    Attributes:
        models: run folders. If there are none, the most recent run is served, or no model if `run` is given.
        checkpoint: the name of the checkpoint, such as best or last; None for the best.
        overrides: decoding settings that replace those of the run.
        host: the address to listen on.
        port: the port; 0 for any free port.
        api_key: the key that clients must send; None if none is needed.
        origins: other sites whose pages may send requests.
        characters: the maximum number of characters in a request.
        waiting: the maximum number of lines that are waiting for a model or being translated by it.
        run: the folder of a training run to show; None for none.
    """

    models: Sequence[Path]
    checkpoint: str | None
    overrides: Sequence[str]
    host: str
    port: int
    api_key: str | None
    origins: Sequence[str]
    characters: int
    waiting: int
    run: Path | None


def run_serve(options: ServeOptions) -> Iterator[str]:
    """Serve until the process is told to stop.

    Yields:
        The address, once the server listens.

    Raises:
        ConfigError: if the server cannot listen on the port, or if the training run does not exist.
    """
    import uvicorn

    metrics = None
    if options.run is not None:
        metrics = options.run / "metrics.jsonl"
        if not options.run.is_dir():
            raise ConfigError(f"{options.run} is not a run folder")
    folders: list[Path | None] = [*options.models] or ([] if options.run is not None else [None])
    load = LoadOptions(options.checkpoint, options.overrides, options.waiting)
    is_local = _is_loopback(options.host)
    limits = Limits(
        characters=options.characters,
        api_key=options.api_key,
        hosts=LOCAL_HOSTS | {options.host.lower()} if is_local else None,
        origins=frozenset(origin.rstrip("/") for origin in options.origins),  # browsers send no final slash
    )
    listening = _listen(options.host, options.port)
    config = uvicorn.Config(
        Server(named(folders, load), limits, metrics).app(),
        log_config=None,  # neither visitors nor the content of their requests are logged
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_LAST_REQUESTS,
        lifespan="on",
    )
    if not is_local:
        log.warning(
            "listening on %s: anyone who can reach this machine can translate%s",
            options.host,
            "" if options.api_key else ", since there is no --api-key",
        )
    host = f"[{options.host}]" if ":" in options.host else options.host
    yield f"http://{host}:{listening.getsockname()[1]}/"
    uvicorn.Server(config).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns off the delay of small packets only for sockets with an explicit TCP protocol.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # on Windows, it would let a second server listen on the same port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {host}, port {port}: {error.strerror}; choose another --port") from None
    listening.listen(128)
    return listening
