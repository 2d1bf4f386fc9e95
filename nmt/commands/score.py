"""`nmt score`: how likely does a model find given translations?"""

import json
from collections.abc import Iterator

from nmt.config import Source
from nmt.data.lines import in_chunks
from nmt.data.sources import read_pairs
from nmt.decoding.output import OutputOptions, json_fields
from nmt.runs.load import LoadedModel

_CHUNK = 2048  # pairs that are held in memory at once


def run_score(model: LoadedModel, source: Source, split: str, as_json: bool) -> Iterator[str]:
    """Score the pairs of a source by forced decoding, some thousand at a time.

    Args:
        model: a loaded model.
        source: the pairs.
        split: the split, of a built-in corpus or a dataset.
        as_json: objects with the log-probability of each piece, instead of lines of log-probability and score.

    Yields:
        One line per pair, in order: log-probability (nats, EOS counted) and score between tabs, or an object.
    """
    number, calibration = 0, model.calibration
    pairs = ((src, tgt) for src, tgt, _ in read_pairs(source, split))
    for chunk in in_chunks(pairs, _CHUNK):
        scored = model.translator.force(chunk, first_line=number + 1, progress=True)
        for one in model.translator.with_links(scored) if as_json else scored:
            number += 1
            if as_json:
                fields = json_fields(one, number, OutputOptions(), calibration)
                del fields["proven"], fields["gap"]
                yield json.dumps(fields, ensure_ascii=False)
            else:
                yield f"{one.log_prob:.6f}\t{one.score:.6f}"
