#!/usr/bin/env bash
# Set everything up in .venv and run the tests, one test file per core at a time. Arguments are passed to pytest (-m slow
# runs those that train real models; -n 0 runs all tests in one process).
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .venv
.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
.venv/bin/pytest --numprocesses auto --maxprocesses 8 --dist loadfile "$@"
