"""The word aligner of a model, which finds the words of two given sentences that are translations of each other.

It is trained on the training text and knows nothing about the translator. Since it sees both complete sentences, its
links are better than those read from attention weights. Only the attention shows what the translator looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nmt.alignment.batches import similar_pairs
from nmt.alignment.bitext import BitextAligner, TokenizedPair
from nmt.alignment.matrix import WordLinks
from nmt.alignment.pieces import encode_pairs
from nmt.alignment.words import lower, spans_at
from nmt.arrays import Float32Array, Int64Array
from nmt.atomic import atomic_write
from nmt.errors import AlignmentError
from nmt.model.link_network import LinkNetwork
from nmt.model.seq2seq import evaluating
from nmt.regular import GIB, read_regular

NETWORK_SHARE = 0.35  # the network's weight in the mean with the statistical aligner
_NETWORK = "network.safetensors"
_LARGEST_NETWORK = 1 * GIB
_CELLS_AT_ONCE = 50_000
_LONGEST = 1_000  # pieces of either side; the network does not read longer pairs


@dataclass(frozen=True)
class EncodedPair:
    """The pieces of a sentence pair, and where each word begins among them."""

    src: Int64Array
    src_starts: Int64Array
    tgt: Int64Array
    tgt_starts: Int64Array

    @property
    def src_words(self) -> Int64Array:
        """``[S]`` the index of each source piece's word."""
        return np.searchsorted(self.src_starts, np.arange(len(self.src)), side="right") - 1

    @property
    def tgt_words(self) -> Int64Array:
        """``[T]`` the index of each target piece's word."""
        return np.searchsorted(self.tgt_starts, np.arange(len(self.tgt)), side="right") - 1


class WordAligner:
    """A statistical aligner and the network that corrects it."""

    def __init__(self, bitext: BitextAligner, network: LinkNetwork | None = None):
        """Put the parts together.

        Args:
            bitext: the statistical aligner.
            network: a network trained on its links, which computes on the device of its parameters; None for none.
        """
        self.bitext, self.network = bitext, network

    @property
    def read_from(self) -> str:
        """A description, for display, of what the matrices are read from."""
        return "aligner" if self.network is not None else "aligner without network"

    def posteriors(self, pairs: Sequence[TokenizedPair], threads: int = 1) -> list[Float32Array]:
        """Return the link probabilities ``[T, S]``, from 0 to 1, of each pair of word sequences."""
        statistical = self.bitext.posteriors(pairs, threads)
        if self.network is None:
            return statistical
        corrected = network_posteriors(self.network, self.encode(pairs))
        return [
            first if second is None else (1 - NETWORK_SHARE) * first + np.float32(NETWORK_SHARE) * second
            for first, second in zip(statistical, corrected, strict=True)
        ]

    def word_links(self, texts: Sequence[tuple[str, str]]) -> list[WordLinks]:
        """Return the link probabilities and the word spans of (source, target) texts."""
        spans = [tuple(spans_at(self.bitext.level, text) for text in pair) for pair in texts]
        words = [
            ([src[a:b] for a, b in src_spans], [tgt[a:b] for a, b in tgt_spans])
            for (src, tgt), (src_spans, tgt_spans) in zip(texts, spans, strict=True)
        ]
        return [
            WordLinks(probabilities, src_spans, tgt_spans, self.read_from)
            for probabilities, (src_spans, tgt_spans) in zip(self.posteriors(words), spans, strict=True)
        ]

    def encode(self, pairs: Sequence[TokenizedPair]) -> list[EncodedPair]:
        """Return the pieces of each pair of word sequences, as the network reads them."""
        src_pieces, tgt_pieces = self.bitext.largest_pieces
        lowered = [([lower(word) for word in src], [lower(word) for word in tgt]) for src, tgt in pairs]
        return [EncodedPair(*src, *tgt) for src, tgt in encode_pairs(src_pieces, tgt_pieces, lowered)]

    def save(self, folder: Path) -> None:
        """Write the aligner into `folder`."""
        from safetensors.torch import save

        folder.mkdir(parents=True, exist_ok=True)
        self.bitext.save(folder)
        if self.network is not None:
            weights = {name: tensor.contiguous() for name, tensor in sorted(self.network.state_dict().items())}
            with atomic_write(folder / _NETWORK) as tmp_path:
                tmp_path.write_bytes(save(weights))

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> "WordAligner":
        """Read what `save` wrote.

        Raises:
            AlignmentError: if it is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        bitext = BitextAligner.load(folder)
        path = folder / _NETWORK
        if not path.exists():
            return cls(bitext)
        try:
            weights = load(read_regular(path, _LARGEST_NETWORK))
            size = weights["embeddings.0.weight"].shape[1]
            src_pieces, tgt_pieces = bitext.largest_pieces
            network = LinkNetwork(len(src_pieces), len(tgt_pieces), size)
            network.load_state_dict(weights)
        except (OSError, SafetensorError, RuntimeError, KeyError, IndexError) as error:
            raise AlignmentError(f"{path}: the word aligner's network is damaged ({error})") from None
        return cls(bitext, network.to(device).eval())


def network_posteriors(network: LinkNetwork, pairs: Sequence[EncodedPair]) -> list[Float32Array | None]:
    """Return the network's link probabilities ``[T, S]`` of words; None for pairs that are empty or too long."""
    device = network.bias.device
    results: list[Float32Array | None] = [None] * len(pairs)
    lengths = np.array([(len(pair.src), len(pair.tgt)) for pair in pairs], dtype=np.int64).reshape(-1, 2)
    lengths[(lengths > _LONGEST).any(axis=1)] = 0  # `similar_pairs` leaves these out
    with evaluating(network):
        for indices in similar_pairs(lengths, _CELLS_AT_ONCE):
            chosen = [pairs[index] for index in indices]
            _, logits = network(*(x.to(device) for x in pad_pieces(chosen)))
            probabilities = logits.float().sigmoid().cpu().numpy()  # [B, T, S]
            for row, (index, pair) in enumerate(zip(indices, chosen, strict=True)):
                results[index] = _on_words(probabilities[row, : len(pair.tgt), : len(pair.src)], pair)
    return results


def _on_words(by_piece: Float32Array, pair: EncodedPair) -> Float32Array:
    """Return the mean link probability of each pair of words over their pieces."""
    sums = np.add.reduceat(np.add.reduceat(by_piece, pair.tgt_starts, axis=0), pair.src_starts, axis=1)
    src_counts = np.diff(np.append(pair.src_starts, len(pair.src)))
    tgt_counts = np.diff(np.append(pair.tgt_starts, len(pair.tgt)))
    means: Float32Array = (sums / (tgt_counts[:, None] * src_counts[None, :])).astype(np.float32)
    return means


def pad_pieces(pairs: Sequence[EncodedPair]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return source pieces and mask ``[B, S]``, and target pieces and mask ``[B, T]``."""
    padded: list[Tensor] = []
    for side in ([pair.src for pair in pairs], [pair.tgt for pair in pairs]):
        lengths = torch.tensor([len(ids) for ids in side])
        mask = torch.arange(int(lengths.max()))[None, :] < lengths[:, None]
        ids = torch.zeros(mask.shape, dtype=torch.long)
        ids[mask] = torch.from_numpy(np.concatenate(side))
        padded += [ids, mask]
    return padded[0], padded[1], padded[2], padded[3]
