"""What the documentation names must exist."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_links_to_or_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]
    missing = [link for link in links if link and not (page.parent / link).exists()]
    named = re.findall(r"(?:nmt|configs|scripts|tests)/[\w/.-]+\.(?:py|yaml|sh|html)", text)
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_of_text_are_not_too_wide(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = text.splitlines()
    assert not [line for line in lines if len(line) > 120 and not line.startswith(("|", "    ", "#", "!"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_names_that_a_page_mentions_can_be_imported(page: Path) -> None:
    for name in re.findall(r"`(nmt(?:\.\w+)+)", page.read_text(encoding="utf-8")):
        parts = name.split(".")
        if parts[1] in ("attention", "encoder", "tokenizer", "metric", "normaliser", "decoder") and len(parts) == 2:
            continue  # a group of entry points
        for end in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(parts[:end]))
            except ModuleNotFoundError:
                continue
            for part in parts[end:]:
                found = getattr(found, part)
            break
