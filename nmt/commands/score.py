"""`nmt score`: report how likely given translations are under a model."""

import json
from collections.abc import Iterator

from nmt.config import Source
from nmt.data.lines import in_chunks
from nmt.data.sources import read_pairs
from nmt.decoding.output import OutputOptions, json_fields
from nmt.processes import Processes
from nmt.runs.load import LoadedModel

_CHUNK = 2048  # pairs that are held in memory at once


def run_score(
    model: LoadedModel, source: Source, split: str, as_json: bool, processes: Processes | None = None
) -> Iterator[str]:
    """Score the pairs of a source by forced decoding, a few thousand at a time.

    Args:
        model: a loaded model.
        source: where the pairs are.
        split: the split of a built-in corpus or dataset.
        as_json: whether to yield JSON objects, with the log-probability of each piece, instead of plain lines.
        processes: the processes that score together, each a block of the pairs; None if this process works alone.

    Yields:
        One line per pair, in order: the log-probability (in nats, including EOS) and the score, separated by a tab, or
        a JSON object. Of several processes, the first yields all lines and the others yield none.
    """
    number, calibration = 0, model.calibration
    processes = processes or Processes()
    pairs = ((src, tgt) for src, tgt, _ in read_pairs(source, split))
    for chunk in in_chunks(pairs, _CHUNK * processes.size):
        start, block = processes.block(chunk)
        first = number + start + 1
        scored = model.translator.force(block, first_line=first, progress=processes.is_first)
        lines = []
        for line, one in enumerate(model.translator.with_links(scored) if as_json else scored, start=first):
            if as_json:
                fields = json_fields(one, line, OutputOptions(), calibration)
                del fields["proven"], fields["gap"]
                lines.append(json.dumps(fields, ensure_ascii=False))
            else:
                lines.append(f"{one.log_prob:.6f}\t{one.score:.6f}")
        lines = processes.gather_blocks(lines)
        number += len(chunk)
        if processes.is_first:
            yield from lines
