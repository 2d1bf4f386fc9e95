"""Training the network that corrects the links of a statistical aligner."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from nmt.alignment.links import Link
from nmt.arrays import IntArray
from nmt.data.batching import cut_batches
from nmt.decoding.word_aligner import EncodedPair, pad_pieces
from nmt.model.link_network import LinkNetwork
from nmt.quiet import no_bar

_SIZE = 128
_LEARNING_RATE, _WARMUP = 2e-3, 100
_TOKENS = 2000  # the most padded pieces in a batch, on its longer side
MOST_PAIRS = 30_000  # learning from more pairs is not worth the time
_EPOCHS, _FEWEST_UPDATES, _MOST_EPOCHS = 4, 800, 20
_LONGEST = 200  # pieces of either side; longer pairs are left out


def train_link_network(
    pairs: Sequence[EncodedPair],
    links: Sequence[Sequence[Link]],
    sizes: tuple[int, int],
    device: torch.device,
    seed: int,
) -> LinkNetwork:
    """Return a network trained to find given links.

    Args:
        pairs: the pieces of the sentence pairs.
        links: (source, target) links between their words.
        sizes: numbers of source and target pieces.
        device: where to train.
        seed: the seed of weights, dropout and order; the state of torch's global generator does not change.
    """
    usable = [i for i, pair in enumerate(pairs) if 0 < len(pair.src) <= _LONGEST and 0 < len(pair.tgt) <= _LONGEST]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = LinkNetwork(*sizes, _SIZE).to(device)
        if usable:
            _train(network, [pairs[i] for i in usable], [links[i] for i in usable], device, seed)
    return network.eval()


def _train(
    network: LinkNetwork,
    pairs: Sequence[EncodedPair],
    links: Sequence[Sequence[Link]],
    device: torch.device,
    seed: int,
) -> None:
    batches = _batches(pairs)
    epochs = min(_MOST_EPOCHS, max(_EPOCHS, -(-_FEWEST_UPDATES // len(batches))))
    updates = epochs * len(batches)
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE, betas=(0.9, 0.98))
    random = np.random.default_rng(seed)
    order = [int(index) for _ in range(epochs) for index in random.permutation(len(batches))]
    network.train()
    for update, index in enumerate(
        tqdm(order, desc="aligner network", unit="update", leave=False, disable=no_bar()), 1
    ):
        chosen = batches[index]
        src, src_mask, tgt, tgt_mask = (x.to(device) for x in pad_pieces([pairs[i] for i in chosen]))
        target = _target([pairs[i] for i in chosen], [links[i] for i in chosen]).to(device)  # [B, T, S]
        real = (tgt_mask[:, :, None] & src_mask[:, None, :]).float()
        losses = [
            functional.binary_cross_entropy_with_logits(logits, target, weight=real, reduction="sum")
            for logits in network(src, src_mask, tgt, tgt_mask)
        ]
        (sum(losses) / tgt_mask.sum()).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        rate = _LEARNING_RATE * min(1.0, update / _WARMUP) * 0.5 * (1.02 + math.cos(math.pi * update / updates))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _batches(pairs: Sequence[EncodedPair]) -> list[IntArray]:
    """Return batches of the indices of pairs; the pairs of a batch have similar lengths."""
    src_len, tgt_len = np.array([[len(pair.src), len(pair.tgt)] for pair in pairs]).T
    return cut_batches(np.lexsort((tgt_len, src_len)), np.maximum(src_len, tgt_len), _TOKENS, "tokens")


def _target(pairs: Sequence[EncodedPair], links: Sequence[Sequence[Link]]) -> Tensor:
    """Return ``[B, T, S]``: 1 where two pieces belong to linked words."""
    shape = (len(pairs), max(len(pair.tgt) for pair in pairs), max(len(pair.src) for pair in pairs))
    target = torch.zeros(shape)
    for row, (pair, own) in enumerate(zip(pairs, links, strict=True)):
        by_word = np.zeros((len(pair.tgt_starts), len(pair.src_starts)), dtype=np.float32)
        for src, tgt in own:
            by_word[tgt, src] = 1.0
        by_piece = by_word[pair.tgt_words][:, pair.src_words]
        target[row, : len(pair.tgt), : len(pair.src)] = torch.from_numpy(by_piece)
    return target
