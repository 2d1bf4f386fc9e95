"""The results of a comparison of several trainings, as tables."""

import csv
import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nmt.evaluation.metrics import LengthScore


@dataclass(frozen=True)
class RunResult:
    """What a comparison keeps of one run.

    Attributes:
        name: the name of the run, which is that of its variant unless there are several seeds.
        parameters: the number of parameters; shared ones count once.
        updates: the number of updates in total.
        tokens_per_second: target tokens per second in training, the median over the log.
        minutes: the minutes that the updates took, by the clock; validation is not counted.
        ppl: the perplexity of the references.
        bleu: the BLEU of the corpus.
        bleu_margin: half its 95 % confidence interval; None if there are too few sentences.
        signature: sacrebleu's signature of the BLEU.
        aer: the AER against gold links; None without gold links or without attention.
        sentences_per_second: sentences translated per second, with the configuration's beam.
        by_length: BLEU by source length.
    """

    name: str
    parameters: int
    updates: int
    tokens_per_second: float
    minutes: float
    ppl: float
    bleu: float
    bleu_margin: float | None
    signature: str
    aer: float | None
    sentences_per_second: float
    by_length: list[LengthScore]


Variants = dict[str, list[RunResult]]  # the runs of each variant, one for each seed


def comparison_table(variants: Variants) -> str:
    """Return a Markdown table with a row for each variant.

    It has BLEU of all sentences and of the quarter with the longest sources. If variants have several runs, a row has
    the means over their runs, and the standard deviations of the scores.
    """
    head = (
        "variant", "parameters", "updates", "minutes", "tokens/s", "ppl", "BLEU", "BLEU, longest", "AER", "sentences/s"
    )  # fmt: skip
    rows = [_row(name, runs) for name, runs in variants.items()]
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    every = [run for runs in variants.values() for run in runs]
    signatures = "; ".join(sorted({run.signature for run in every}))
    most = max(map(len, variants.values()))
    spread = f"the standard deviation over {most} seeds" if most > 1 else "half the 95 % interval (bootstrap)"
    return f"{table}\n\nBLEU: {signatures}. Tokens are target tokens; ± is {spread}."


def _row(name: str, runs: Sequence[RunResult]) -> tuple[str, ...]:
    def mean(value: Callable[[RunResult], float], digits: int, has_spread: bool = False) -> str:
        values = [value(run) for run in runs]
        spread = f" ± {statistics.stdev(values):.{digits}f}" if has_spread and len(values) > 1 else ""
        return f"{statistics.mean(values):,.{digits}f}{spread}"

    alone = runs[0] if len(runs) == 1 else None
    margin = "" if alone is None or alone.bleu_margin is None else f" ± {alone.bleu_margin:.2f}"
    return (
        name,
        mean(lambda run: run.parameters, 0),
        mean(lambda run: run.updates, 0),
        mean(lambda run: run.minutes, 1),
        mean(lambda run: run.tokens_per_second, 0),
        mean(lambda run: run.ppl, 2, has_spread=True),
        mean(lambda run: run.bleu, 2, has_spread=True) + margin,
        mean(lambda run: run.by_length[-1].bleu, 2, has_spread=True) if all(run.by_length for run in runs) else "",
        "" if any(run.aer is None for run in runs) else mean(lambda run: run.aer or 0.0, 3, has_spread=True),
        mean(lambda run: run.sentences_per_second, 0),
    )


def comparison_csv(variants: Variants) -> str:
    """Return the numbers of every run as comma-separated values, for other programs."""
    columns = ("parameters", "updates", "minutes", "tokens_per_second", "ppl", "bleu", "bleu_margin", "aer")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("variant", "run", *columns, "sentences_per_second"))
    for name, runs in variants.items():
        for run in runs:
            values = ["" if getattr(run, column) is None else getattr(run, column) for column in columns]
            writer.writerow((name, run.name, *values, run.sentences_per_second))
    return text.getvalue()


def mean_by_length(runs: Sequence[RunResult]) -> list[LengthScore]:
    """Return BLEU by source length of a variant; for several runs, the means over them, without intervals."""
    if len(runs) == 1:
        return runs[0].by_length
    groups = zip(*(run.by_length for run in runs), strict=True)
    return [replace(of[0], bleu=statistics.mean(one.bleu for one in of), margin=None) for of in groups]
