#!/usr/bin/env bash
# Set everything up in .venv, train on the built-in corpus, and translate two sentences with their attention shown.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .venv
.venv/bin/pip install --quiet --constraint constraints.txt .
.venv/bin/nmt train --config configs/quickstart.yaml
.venv/bin/nmt translate --show-alignment "I love you" "I do not see the black cat"
