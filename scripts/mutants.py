"""Change one operator, number or condition of the core at a time, and count the changes that a test notices.

    pip install coverage
    python scripts/mutants.py --count 200 --seed 1 nmt/model nmt/decoding

First the tests run once under coverage, which records the tests that run each line. Then each mutant is written into a
copy of the checkout, and the tests that run its line are started until one fails. Each mutant is printed with its
change, and with whether it was killed or survived.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

SECONDS_FOR_ONE = 300
TESTS_AT_MOST = 150  # for one mutant
TESTS = (
    "tests/unit",
    "tests/integration/test_translator.py",
    "tests/integration/test_report.py",
    "tests/integration/test_word_links.py",
    "tests/cli/test_alignments.py",
    "tests/cli/test_batcher.py",
    "tests/cli/test_commands.py",
    "tests/cli/test_serve.py",
)
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Add,
}  # fmt: skip


def changeable_nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that can be changed; annotations, docstrings, errors and zip's `strict` are not among them."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        hidden: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            hidden = [node.returns, *(arg.annotation for arg in [*node.args.args, *node.args.kwonlyargs])]
        elif isinstance(node, ast.AnnAssign):
            hidden = [node.annotation]
        elif isinstance(node, ast.Raise) or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            hidden = [node]
        elif isinstance(node, ast.ClassDef):
            hidden = list(node.bases)
        elif isinstance(node, ast.keyword) and node.arg == "strict":  # of zip: a check, like a raised error
            hidden = [node.value]
        skipped |= {id(part) for one in hidden if one is not None for part in ast.walk(one)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        number = isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float)
        if number or isinstance(node, ast.Compare | ast.BinOp | ast.BoolOp | ast.If | ast.IfExp | ast.UnaryOp):
            yield node


def change(node: ast.AST) -> bool:
    """Change a node in place; return whether there was something to change."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value = node.value + 1
    elif isinstance(node, ast.Compare):
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.BoolOp):
        if type(node.op) not in SWAPS:
            return False
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.UnaryOp):
        if isinstance(node.op, ast.Not):
            node.op = ast.UAdd()
            node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
        elif isinstance(node.op, ast.USub):
            node.op = ast.UAdd()
        else:
            return False
    return True


def mutants(paths: list[Path]) -> Iterator[tuple[Path, int, int]]:
    """Yield a file, the index of a node in `changeable_nodes` and its line, for each change that can be made."""
    for path in paths:
        for index, node in enumerate(changeable_nodes(ast.parse(path.read_text(encoding="utf-8")))):
            if change(copy.deepcopy(node)):
                yield path, index, getattr(node, "lineno", 0)


def mutate(path: Path, index: int) -> tuple[str, str, str]:
    """Return the changed file, and the changed expression before and after."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    node = list(changeable_nodes(tree))[index]
    before = ast.unparse(node).splitlines()[0]
    change(node)
    ast.fix_missing_locations(tree)
    return ast.unparse(tree), before, ast.unparse(node).splitlines()[0]


def tests_of_lines(root: Path, tests: Sequence[str]) -> dict[tuple[str, int], list[str]]:
    """Return, for each file and line, the tests that run it."""
    environment = os.environ | {"COVERAGE_FILE": str(root / ".coverage")}
    settings = root / "coverage.ini"
    settings.write_text("[run]\nsource = nmt\ndynamic_context = test_function\n", encoding="utf-8")
    command = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", "-m", "pytest", "-q", *tests]
    subprocess.run(command, cwd=root, env=environment, check=False, stdout=sys.stderr)
    found: dict[tuple[str, int], list[str]] = {}
    with sqlite3.connect(root / ".coverage") as data:
        rows = data.execute(
            "select file.path, context.context, line_bits.numbits from line_bits join file on file.id = file_id "
            "join context on context.id = context_id where context != ''"
        ).fetchall()
    for path, context, bits in rows:
        name = str(Path(path).relative_to(root))
        for position, byte in enumerate(bits):
            for bit in range(8):
                if byte >> bit & 1:
                    found.setdefault((name, 8 * position + bit), []).append(context)
    return found


def test_ids(root: Path, contexts: list[str]) -> list[str]:
    """Return pytest's ids of the tests that coverage calls test_x.test_y, unit tests first."""
    names = {(context.split(".")[0], context.split(".")[1]) for context in contexts}
    files = {path.stem: path.relative_to(root) for path in (root / "tests").rglob("test_*.py")}
    return sorted((f"{files[file]}::{test}" for file, test in names), reverse=True)


def main() -> None:
    """Run a sample of mutants, and print what became of each and the share that was killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", default=["nmt/model", "nmt/decoding"])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tests", nargs="*", default=list(TESTS), help="files or folders of tests")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the sample, to try some again")
    options = parser.parse_args()
    checkout = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "copy"
        for name in ("nmt", "tests", "configs", "docs", "scripts"):
            shutil.copytree(checkout / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in filter(Path.is_file, checkout.glob("*.*")):
            shutil.copy(path, root)
        os.environ.update(PYTHONPATH=str(root), OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
        covering = tests_of_lines(root, options.tests)
        files = [path for folder in options.folders for path in sorted((root / folder).rglob("*.py"))]
        chosen = random.Random(options.seed).sample(list(mutants(files)), options.count)
        killed = tried = 0
        for number, (path, index, line) in enumerate(chosen, start=1):
            if options.only and number not in options.only:
                continue
            tried += 1
            name, original = str(path.relative_to(root)), path.read_text(encoding="utf-8")
            text, before, after = mutate(path, index)
            contexts = covering.get((name, line)) or [  # a line that runs at import: the tests of its file
                context for (other, _), found in covering.items() if other == name for context in found
            ]
            ids = test_ids(root, contexts)[:TESTS_AT_MOST]
            began, noticed = time.monotonic(), False
            if ids:
                path.write_text(text, encoding="utf-8")
                command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *ids]
                try:
                    done = subprocess.run(command, cwd=root, capture_output=True, timeout=SECONDS_FOR_ONE, check=False)
                    noticed = done.returncode != 0
                except subprocess.TimeoutExpired:
                    noticed = True
                path.write_text(original, encoding="utf-8")
            killed += noticed
            what = "killed" if noticed else "SURVIVED" if ids else "NOT RUN BY A TEST"
            seconds = time.monotonic() - began
            print(
                f"{number:4} {what:9} {name}:{line} {before} -> {after} ({len(ids)} tests, {seconds:.0f} s)", flush=True
            )
    print(f"killed {killed} of {tried}: {killed / tried:.1%}")


if __name__ == "__main__":
    main()
