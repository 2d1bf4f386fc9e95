"""`nmt serve`: the page and the interface, until it is told to stop."""

import ipaddress
import logging
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
_LAST_REQUESTS = 70  # seconds that requests in flight have to end, a little more than each may take


@dataclass(frozen=True)
class ServeOptions:
    """What is served, and to whom.

    Attributes:
        models: run folders; none for the run trained last.
        checkpoint: best, last or another; None for the best.
        overrides: settings of decoding.
        host: the address to listen on.
        port: the port; 0 for any that is free.
        api_key: what clients must know; None if everybody may ask.
        origins: other sites whose pages may ask.
        characters: the most characters of a request.
        waiting: the most lines that wait for a model.
        run: the folder of a training to look at.
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
        ConfigError: if the port is taken, or the training to look at is not there.
    """
    import uvicorn

    metrics = None
    if options.run is not None:
        metrics = options.run / "metrics.jsonl"
        if not options.run.is_dir():
            raise ConfigError(f"{options.run} is no run folder")
    folders: list[Path | None] = [*options.models] or ([] if options.run is not None else [None])
    load = LoadOptions(options.checkpoint, options.overrides, options.waiting)
    is_local = _is_loopback(options.host)
    limits = Limits(
        characters=options.characters,
        api_key=options.api_key,
        hosts=LOCAL_HOSTS | {options.host.lower()} if is_local else None,
        origins=frozenset(options.origins),
    )
    listening = _listen(options.host, options.port)
    config = uvicorn.Config(
        Server(named(folders, load), limits, metrics).app(),
        log_config=None,  # the names of visitors and what they ask for are not written anywhere
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_LAST_REQUESTS,
        lifespan="on",
    )
    if not is_local:
        log.warning(
            "listening on %s: everybody who reaches this machine can translate%s",
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
    # asyncio turns off the delay of small packets only for sockets that say they are TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {host}, port {port}: {error.strerror}; choose another --port") from None
    listening.listen(128)
    return listening
