"""`nmt score`: how likely does a model find given translations?"""

import json
from collections.abc import Iterator

from nmt.config import Source
from nmt.data.sources import read_pairs
from nmt.decoding.output import OutputOptions, json_fields
from nmt.runs.load import LoadedModel


def run_score(model: LoadedModel, source: Source, split: str, as_json: bool) -> Iterator[str]:
    """Score the pairs of a source by forced decoding.

    Args:
        model: a loaded model.
        source: the pairs.
        split: the split, of a built-in corpus or a dataset.
        as_json: objects with the log-probability of each piece, instead of lines of log-probability and score.

    Yields:
        One line per pair, in order: log-probability (nats, EOS counted) and score between tabs, or an object.
    """
    pairs = [(src, tgt) for src, tgt, _ in read_pairs(source, split)]
    for number, scored in enumerate(model.translator.force(pairs, progress=True), start=1):
        if as_json:
            fields = json_fields(scored, number, OutputOptions(), model.calibration)
            del fields["proven"]
            yield json.dumps(fields, ensure_ascii=False)
        else:
            yield f"{scored.log_prob:.6f}\t{scored.score:.6f}"
