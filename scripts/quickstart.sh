#!/usr/bin/env bash
# Set everything up in .venv and run the main job on the built-in corpus: train, translate, see who looked at what.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .venv
.venv/bin/pip install --quiet --constraint constraints.txt .
.venv/bin/nmt train --config configs/quickstart.yaml
.venv/bin/nmt translate --show-alignment "I love you" "I do not see the black cat"
