"""The command line: one file per command, with its options and help texts and nothing else.

What the commands do is in `nmt.commands`, which is imported when a command runs.
"""

# Each module registers its command; the help lists the commands in this order.
from nmt.cli import (  # isort: skip
    init,
    train,
    translate,
    evaluate,
    align,
    words,
    score,
    doctor,
    config,
    compare,
    average,
    calibrate,
    serve,
    runs,
    pack,
    push,
    export,
)
from nmt.cli.app import app, main

__all__ = [
    "align",
    "app",
    "average",
    "calibrate",
    "compare",
    "config",
    "doctor",
    "evaluate",
    "export",
    "init",
    "main",
    "pack",
    "push",
    "runs",
    "score",
    "serve",
    "train",
    "translate",
    "words",
]
