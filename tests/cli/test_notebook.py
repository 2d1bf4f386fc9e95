"""The notebook of the documentation: every cell runs."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parent.parent.parent / "docs" / "notebook.ipynb"


def test_every_cell_of_the_notebook_runs(home: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(codes) >= 10
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for number, code in enumerate(codes):
            exec(compile(code, f"cell {number}", "exec"), names)
    assert names["wanted"].phrases[0].satisfied
    assert "attention" in printed.getvalue()
    assert not any("error" in output["output_type"] for cell in cells for output in cell.get("outputs", []))
