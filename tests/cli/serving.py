"""A server with one small model, for tests."""

from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from nmt.serve.app import Server
from nmt.serve.guard import Limits
from nmt.serve.models import LoadOptions, named

LINE = "I love you"


def server(**limits: Any) -> TestClient:
    models = named([Path("runs/tiny")], LoadOptions(None, ["training.threads=1"], 100))
    hosts = Limits.hosts
    assert hosts is not None
    return TestClient(
        Server(models, Limits(**{"hosts": hosts | {"testserver"}} | limits), Path("runs/tiny/metrics.jsonl")).app()
    )
