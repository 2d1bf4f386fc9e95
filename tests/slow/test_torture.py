"""The torture of a run, in small."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_no_fault_costs_more_than_what_came_after_the_last_checkpoint() -> None:
    script = Path(__file__).parents[2] / "scripts" / "torture.py"
    done = subprocess.run([sys.executable, str(script), "--trials", "15"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
