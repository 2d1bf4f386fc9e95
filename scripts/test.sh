#!/usr/bin/env bash
# Set everything up in .venv and run the tests. Arguments are passed to pytest (-m slow runs those that train real
# models).
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .venv
.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
.venv/bin/pytest "$@"
