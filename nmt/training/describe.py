"""Log messages about a run at the beginning of its training."""

import logging

import torch

from nmt.data.prepare import Corpora
from nmt.processes import Processes

log = logging.getLogger(__name__)


def describe_guidance(corpora: Corpora) -> None:
    """Log which links guide the attention, and how many pairs have none."""
    if (guide := corpora.train.guide) is not None:
        log.info(
            "the attention is guided by links of %s: %d pairs (without links: %d, words changed by the tokenizer: %d)",
            corpora.links_from,
            guide.counts.guided,
            guide.counts.no_links,
            guide.counts.words_changed,
        )


def describe_run(
    corpora: Corpora, model: torch.nn.Module, device: torch.device, precision: torch.dtype, processes: Processes
) -> None:
    """Log what is trained, on which pairs, and on which device."""
    train, tokenizer = corpora.train, corpora.tokenizer
    log.info(
        "%d training pairs (dropped: %d empty, %d too long), %d for validation",
        len(train),
        train.drops.empty,
        train.drops.too_long,
        len(corpora.valid),
    )
    joint, threads = tokenizer.joint, torch.get_num_threads()
    log.info(
        "%s, %s parameters, %s on %s with %d thread%s%s",
        f"{tokenizer.src_size} joint pieces" if joint else f"{tokenizer.src_size} + {tokenizer.tgt_size} pieces",
        f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        str(precision).removeprefix("torch."),
        device,
        threads,
        "" if threads == 1 else "s",
        "" if processes.size == 1 else f" in each of {processes.size} processes",
    )
