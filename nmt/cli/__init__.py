"""The commands: help texts and nothing else. What they do is in `pipeline`, imported when a command runs."""

from nmt.cli import training, using  # which register their commands
from nmt.cli.app import app, main

__all__ = ["app", "main", "training", "using"]
