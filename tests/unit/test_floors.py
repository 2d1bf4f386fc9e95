"""The house by packages: a module imports from the floors below its own, and from its own package."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import nmt.model

PACKAGE = Path(nmt.__file__).parent
FLOORS = [
    {"config"},
    {"runtime", "processes", "alignment", "evaluation"},
    {"data"},
    {"model"},
    {"decoding", "export"},
    {"training", "runs"},
    {"commands", "serve"},
    {"cli", "api"},
]
# Files that import nothing of ours.
GROUND = {"arrays", "errors", "atomic", "fonts", "quiet", "regular", "startup", "threads"}
FLOOR = {package: height for height, floor in enumerate(FLOORS) for package in floor}
MODULES = {
    path.relative_to(PACKAGE.parent).with_suffix("").parts[1:]: path
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE or path.stem not in ("__init__", "__main__")
}
HEAVY = {"matplotlib", "datasets", "tensorboard", "sacrebleu", "pyarrow"}


def imports(path: Path) -> set[tuple[str, ...]]:
    """The modules of this package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {tuple(name.split(".")[1:]) for name in names if name.startswith("nmt.")}
    return found


def test_every_package_has_its_floor() -> None:
    assert {module[0] for module in MODULES} == set(FLOOR) | GROUND
    assert len(FLOORS) <= 8


@pytest.mark.parametrize("package", sorted(FLOOR))
def test_imports_go_downwards(package: str) -> None:
    for module, path in MODULES.items():
        for imported in imports(path) if module[0] == package else ():
            below = imported[0] in GROUND or FLOOR[imported[0]] < FLOOR[package]
            beside = imported[0] == package and package != "commands"  # a command can be read alone
            assert below or beside, f"{'.'.join(module)} imports {'.'.join(imported)}"


def test_no_module_imports_at_its_top_what_a_cold_start_must_not_pay() -> None:
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.split(".")[0] for name in names} & HEAVY, module


def test_every_package_is_one_and_is_part_of_what_is_installed() -> None:
    """A folder without __init__ may be left out of a wheel, as may one that a line of .gitignore matches."""
    for folder in {path.parent for path in MODULES.values()}:
        assert (folder / "__init__.py").exists(), folder
    if shutil.which("git") is None:
        return
    command = ["git", "check-ignore", "--no-index", *map(str, MODULES.values())]
    ignored = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert ignored.stdout == ""


def test_every_package_says_what_lives_in_it_and_what_does_not() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert len(re.findall(r"[.;](?=\s|$)", text)) >= 2, path


def test_every_letter_of_a_shape_is_in_the_legend() -> None:
    legend = re.findall(r"^- (\w): ", nmt.model.__doc__ or "", re.MULTILINE)
    assert set("BSTLQHMEAV") <= set(legend)
    for path in (PACKAGE / "model").rglob("*.py"):
        for shape in re.findall(r"``(\[[^`]*\])``", path.read_text(encoding="utf-8")):
            letters = set(re.findall(r"(?<![A-Za-z_.])\d?([A-Za-z])(?![A-Za-z_])", shape)) - {"x"}
            assert letters <= set(legend), f"{path}: {shape}"
