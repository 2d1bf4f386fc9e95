"""A module imports only from floors below its own, never sideways."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "nmt"
# Lowest first; a name stands for a module, or for all modules of a package that are not named themselves.
FLOORS = [
    ["nmt.errors", "nmt.words", "nmt.files", "nmt.data.lexicon"],
    ["nmt.data.examine", "nmt.data.sampling"],
    ["nmt.config.section"],
    ["nmt.config.data", "nmt.config.model", "nmt.config.training", "nmt.config.decoding"],
    ["nmt.config"],
    [
        "nmt.config_file",
        "nmt.run_folder",
        "nmt.runtime",
        "nmt.data.phrasebook",
        "nmt.alignment.aer",
        "nmt.alignment.matrix",
    ],
    [
        "nmt.data.corpus",
        "nmt.data.tokenizer",
        "nmt.alignment.diagnostics",
        "nmt.alignment.heatmap",
        "nmt.alignment.symmetrise",
        "nmt.evaluation",
        "nmt.model.memory",
        "nmt.model.normaliser",
        "nmt.model.kernel",
        "nmt.model.window",
        "nmt.model.additive",
        "nmt.model.deferred",
        "nmt.model.dropout",
        "nmt.model.cells",
        "nmt.model.multi_head",
    ],
    ["nmt.data.guide"],
    [
        "nmt.data.batching",
        "nmt.alignment.files",
        "nmt.alignment.report",
        "nmt.decoding.confidence",
        "nmt.model.coverage",
        "nmt.model.stack",
        "nmt.training.loss",
        "nmt.training.optimizer",
        "nmt.training.checkpoint",
    ],
    ["nmt.model.attention", "nmt.model.encoder", "nmt.decoding.rules", "nmt.decoding.unknown"],
    ["nmt.model.decoder", "nmt.model.transformer"],
    ["nmt.model.seq2seq", "nmt.decoding.search"],
    ["nmt.model.build", "nmt.decoding.ensemble", "nmt.decoding.precision", "nmt.training.trainer"],
    ["nmt.decoding.translator"],
    ["nmt.training.reporter", "nmt.pipeline.corpora", "nmt.pipeline.load", "nmt.pipeline.begin"],
    ["nmt.pipeline.train", "nmt.pipeline.translate", "nmt.pipeline.average"],
    ["nmt.pipeline.align", "nmt.pipeline.dry_run", "nmt.pipeline.score", "nmt.pipeline.calibrate"],
    ["nmt.pipeline.evaluate", "nmt.pipeline.doctor"],
    ["nmt.pipeline.compare"],
    ["nmt.cli.app", "nmt.cli.options", "nmt.api"],
    ["nmt.cli.training", "nmt.cli.using"],
    ["nmt.cli"],
    ["nmt.__main__", "nmt"],
]
FLOOR = {module: height for height, floor in enumerate(FLOORS) for module in floor}
PACKAGES = {"nmt.data", "nmt.model", "nmt.training", "nmt.decoding", "nmt.alignment", "nmt.pipeline"}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nmt":
            found |= {
                f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else node.module
                for alias in node.names
            }
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "nmt"}
    return found


def test_every_module_has_its_floor() -> None:
    assert set(MODULES) - PACKAGES == set(FLOOR)


@pytest.mark.parametrize("module", sorted(set(MODULES) - PACKAGES))
def test_imports_go_downwards(module: str) -> None:
    for imported in imports(MODULES[module]):
        assert FLOOR[imported] < FLOOR[module], f"{module} imports {imported}"


def test_no_line_imports_what_a_cold_start_must_not_pay() -> None:
    heavy = {"matplotlib", "datasets", "tensorboard", "sacrebleu", "pyarrow"}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not {name.split(".")[0] for name in names} & heavy, module
