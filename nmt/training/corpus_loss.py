"""The loss of a corpus, such as the validation split or a test set."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import torch

from nmt.data.batching import Batch
from nmt.decoding.ensemble import Ensemble
from nmt.errors import NOT_FINITE, ModelError
from nmt.model.seq2seq import Seq2Seq, evaluating
from nmt.processes import Processes
from nmt.training.loss import sequence_loss


@dataclass(frozen=True)
class CorpusLoss:
    """The loss of a corpus with teacher forcing, in nats per target token.

    `loss` is with label smoothing, and `nll` is without.
    """

    loss: float
    nll: float


def corpus_nll(model: Seq2Seq | Ensemble, batches: Iterable[Batch], device: torch.device) -> float:
    """Return the negative log-likelihood of a corpus per target token, in nats, without label smoothing.

    Args:
        model: a `Seq2Seq` or an ensemble, on `device`.
        batches: the pairs.
        device: where to compute.

    Raises:
        ModelError: if the model's probabilities are not finite.
    """
    total, tokens = 0.0, 0
    with evaluating(model):
        for batch in (batch.to(device) for batch in batches):
            log_probs = model.normalised(batch) if isinstance(model, Ensemble) else model.forced(batch)[0]
            total -= float(log_probs.cpu().double().sum())  # on the CPU, since not every GPU has float64
            tokens += batch.tgt_tokens
    if not math.isfinite(total):
        raise ModelError(NOT_FINITE)
    return total / max(1, tokens)


def corpus_loss(
    model: Seq2Seq,
    batches: Iterable[Batch],
    device: torch.device,
    smoothing: torch.Tensor,
    processes: Processes | None = None,
) -> CorpusLoss:
    """Return the loss of a corpus with teacher forcing, without dropout, and in the model's own precision.

    Args:
        model: the model, on `device`.
        batches: the pairs.
        device: where to compute.
        smoothing: ``[V]`` the label smoothing of the loss; see `label_smoothing`.
        processes: the processes that share the batches; None if this one works alone.
    """
    loss_sum, nll_sum, tokens = 0.0, 0.0, 0
    processes = processes or Processes()
    with evaluating(model):
        for batch in (batch.to(device) for batch in islice(batches, processes.rank, None, processes.size)):
            features, _ = model(batch, need_weights=False)
            _, loss, nll = sequence_loss(features, batch.tgt_out, batch.tgt_positions, model.output, smoothing)
            loss_sum, nll_sum, tokens = loss_sum + float(loss), nll_sum + float(nll), tokens + batch.tgt_tokens
    if processes.size > 1:
        sums = processes.sum(torch.tensor([loss_sum, nll_sum, tokens], dtype=torch.float64, device=device))
        loss_sum, nll_sum, tokens = float(sums[0]), float(sums[1]), int(sums[2])
    return CorpusLoss(loss_sum / max(1, tokens), nll_sum / max(1, tokens))
