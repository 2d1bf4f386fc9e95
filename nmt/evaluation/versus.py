"""Systems side by side: a table of their scores, with intervals and tests of significance."""

import statistics
from collections.abc import Sequence

from nmt.evaluation.metrics import Reference, compare_systems

HEADINGS = {"bleu": "BLEU", "chrf": "chrF2", "ter": "TER"}  # the metrics for comparing systems, and their headings


def versus_table(
    systems: Sequence[tuple[str, Sequence[str]]],
    refs: Sequence[Reference],
    tokenize: str,
    lowercase: bool,
    metrics: Sequence[str] = ("bleu", "chrf", "ter"),
    bootstrap: int = 1000,
) -> str:
    """Return a table of each system's scores, with their intervals and with p-values against the first system.

    Args:
        systems: the name and the translations of each system; these may also be several runs of one system with
            different seeds.
        refs: the references.
        tokenize: the tokenizer of BLEU.
        lowercase: whether case is ignored.
        metrics: the metrics, any of `bleu`, `chrf` and `ter`; a column for each.
        bootstrap: the number of resamplings.

    Returns:
        A Markdown table, followed by the signatures of the metrics. With three or more systems, the last row has the
        mean and the standard deviation over the systems.

    Raises:
        DataError: if the numbers of a system's translations and of the references differ.
    """
    results = compare_systems(systems, refs, tokenize, lowercase, bootstrap, metrics)
    names = [name for name, _ in systems]
    by_place = {(result.name, result.metric): result for result in results}
    lines = [f"| system | {' | '.join(HEADINGS[metric] for metric in metrics)} |", f"| --- |{' ---: |' * len(metrics)}"]
    for name in names:
        cells = []
        for metric in metrics:
            result = by_place[name, metric]
            p_value = "" if result.p_value is None else f" (p = {result.p_value:.3f})"
            cells.append(f"{result.value:.2f} ± {result.margin:.2f}{p_value}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if len(names) > 2:
        values = {metric: [by_place[name, metric].value for name in names] for metric in metrics}
        cells = [f"{statistics.mean(of):.2f} ± {statistics.stdev(of):.2f}" for of in values.values()]
        lines.append(f"| mean ± standard deviation | {' | '.join(cells)} |")
    signatures = [f"{metric}: {by_place[names[0], metric].signature}" for metric in metrics]
    return "\n".join([*lines, "", *signatures])
