"""`nmt eval` with several systems: translate one test set with several models, or score files of translations."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from nmt.commands.evaluate import BOOTSTRAP, check_test_set, run_eval, with_more
from nmt.config import Config
from nmt.data.lines import read_lines
from nmt.data.sources import load_text
from nmt.errors import ConfigError
from nmt.evaluation.versus import HEADINGS, versus_table
from nmt.runs.load import LoadedModel


def run_eval_versus(
    models: Sequence[LoadedModel],
    split: Literal["train", "valid", "test"],
    files: tuple[Path, Path] | None,
    output: Path | None,
    more_refs: Sequence[Path] = (),
    glossary: Path | None = None,
) -> str:
    """Translate one test set with several models and score them side by side; see `run_versus`.

    The first model's configuration says how all are scored.

    Args:
        models: the models to compare; each one is compared with the first.
        split: a split of the first model's configuration.
        files: source and reference files instead of a split.
        output: the folder for the results; None for each model's own ``eval`` folder.
        more_refs: files of further references.
        glossary: a file of terms that the translations must keep to.

    Returns:
        A Markdown table, and BLEU by source length.

    Raises:
        ConfigError: if two models are the same, or if systems cannot be compared by one of the metrics.
        DataError: if the data cannot be read.
    """
    names = [model.name for model in models]
    if len({tuple(path.resolve() for path in model.members) for model in models}) < len(models):
        raise ConfigError(f"the same model is given twice: {', '.join(names)}")
    if len(set(names)) < len(names):
        names = ["+".join(map(str, model.members)) for model in models]
    first = models[0]
    settings = first.config.evaluation
    models = [replace(one, config=one.config.model_copy(update={"evaluation": settings})) for one in models]
    metrics = _comparable(first.config)
    stems = [None if output is None else output / name.replace("/", "-") for name in names]
    source = first.source(split, files)
    for model, stem in zip(models, stems, strict=True):  # check all of them before hours of decoding
        check_test_set(model, split, files, stem, source)
    text, _ = load_text(source, split, Path(first.config.data.cache_dir).expanduser())
    refs = with_more(list(text["tgt"]), more_refs)
    systems, curves = [], {}
    for name, model, stem in zip(names, models, stems, strict=True):
        report = run_eval(model, split, files, stem, source, more_refs, glossary)
        systems.append((name, report.hyps))
        curves[name] = report.by_length
    lengths = [f"{group.shortest}-{group.longest} words" for group in curves[names[0]]]
    lines = [f"| BLEU by source length | {' | '.join(lengths)} |", f"| --- |{' ---: |' * len(lengths)}"]
    lines += [f"| {name} | {' | '.join(f'{group.bleu:.2f}' for group in groups)} |" for name, groups in curves.items()]
    versus = versus_table(systems, refs, settings.bleu_tokenize, settings.lowercase, metrics, BOOTSTRAP)
    return "\n".join([versus, "", *lines])


def _comparable(config: Config) -> list[str]:
    """Return the names of a configuration's metrics.

    Raises:
        ConfigError: if the significance test cannot compare systems by one of them.
    """
    names = [metric.name for metric in config.evaluation.metrics]
    if unknown := [name for name in names if name not in HEADINGS]:
        raise ConfigError(
            f"--versus compares {', '.join(HEADINGS)}, not {', '.join(unknown)}; choose the metrics with "
            f"--set evaluation.metrics=[bleu]"
        )
    return names


def run_versus(systems: Sequence[tuple[str, Path]], refs: Sequence[Path], tokenize: str, lowercase: bool) -> str:
    """Score files of translations, without a model; see `versus_table`.

    Raises:
        DataError: if a file cannot be read, or if its number of lines differs from that of the reference.
    """
    translated = [(name, list(read_lines(path))) for name, path in systems]
    return versus_table(
        translated, with_more(list(read_lines(refs[0])), refs[1:]), tokenize, lowercase, bootstrap=BOOTSTRAP
    )
