"""The complete word aligner of a text: a statistical aligner and its network, trained once and cached."""

import logging
import time
from pathlib import Path

import torch

from nmt.data.bitext_links import TextAligner, spread_rows, word_pairs
from nmt.data.cache import Table, cached_folder
from nmt.data.checksums import digest
from nmt.decoding.word_aligner import WordAligner
from nmt.training.link_network import MOST_PAIRS, train_link_network

log = logging.getLogger(__name__)
_FORMAT = 1  # raise it when the same links lead to a different network
_SEED = 1  # the network belongs to the text, not to a run and its seed


def cached_word_aligner(made: TextAligner, text: Table, cache: Path, device: torch.device) -> Path:
    """Return the folder of a text's word aligner; the network is trained first if the cache does not have it yet.

    Args:
        made: the statistical aligner of the text.
        text: the sentence pairs, in the columns `src` and `tgt`.
        cache: folder of the cache.
        device: where to train.

    Raises:
        DataError: if the cache cannot be read or written.
    """

    def make(folder: Path) -> None:
        started = time.monotonic()
        rows = spread_rows(len(text), MOST_PAIRS)
        log.info(
            "training the word aligner's network on %d pairs; this is done once, and the network is kept in the cache",
            len(rows),
        )
        pairs = list(word_pairs(text.select(rows), made.aligner.level))
        links = list(made.aligner.links(pairs, torch.get_num_threads()))
        src_pieces, tgt_pieces = made.aligner.largest_pieces
        sizes = len(src_pieces), len(tgt_pieces)
        encoded = WordAligner(made.aligner).encode(pairs)
        network = train_link_network(encoded, links, sizes, device, _SEED)
        WordAligner(made.aligner, network).save(folder)
        seconds = time.monotonic() - started
        log.info("the word aligner's network has learned from %d pairs in %.0f s", len(rows), seconds)

    return cached_folder(cache / f"word-aligner-{digest(_FORMAT, made.fingerprint)}", make)
