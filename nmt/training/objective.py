"""What training minimises, computed in the forward method of one module, so that it can be wrapped or compiled."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.config import TrainingConfig
from nmt.data.batching import Batch
from nmt.data.tokenizer import PAD
from nmt.model.seq2seq import Seq2Seq
from nmt.training.loss import GuidedLoss, LossSums, coverage_loss, guided_loss, label_smoothing, sequence_loss


class LossWeights(NamedTuple):
    """The weights of the losses in one update, which depend on the update and its epoch.

    Attributes:
        teacher_forcing: probability, per token, that the gold token is fed.
        guided: weight of the guided-alignment loss.
        coverage: weight of the coverage loss.
    """

    teacher_forcing: float = 1.0
    guided: float = 0.0
    coverage: float = 0.0


class Objective(nn.Module):
    """A model with its losses."""

    smoothing: Tensor  # [V]; see `label_smoothing`

    def __init__(
        self, model: Seq2Seq, config: TrainingConfig, guided: GuidedLoss | None, smoothed: Tensor | None = None
    ):
        """Store the caller's model, not a copy, and the settings of the losses.

        Args:
            model: the model, on its device.
            config: the settings of the training loop.
            guided: the loss of guided alignment; see `Config.guided_loss`.
            smoothed: ``[V]`` bool, True on the pieces that label smoothing favours; None for all.
        """
        super().__init__()
        self.model, self.guided = model, guided
        smoothing = label_smoothing(config.label_smoothing, model.output, smoothed)
        self.register_buffer("smoothing", smoothing, persistent=False)
        self.consistency = None if config.consistency.type == "none" else config.consistency
        if self.consistency is not None and self.consistency.input_cut:
            _keep_padding(model)
            self.zero_padding()
        self.needs_weights = config.coverage_loss > 0 or guided is not None

    def zero_padding(self) -> None:
        """Set the embedding of PAD, which stands for cut tokens, to 0 if tokens are cut."""
        if self.consistency is not None and self.consistency.input_cut:
            for module in self.model.modules():
                if isinstance(module, nn.Embedding):
                    with torch.no_grad():
                        module.weight[PAD] = 0.0

    def forward(self, batch: Batch, weights: LossWeights) -> LossSums:
        """Return the sums of the losses of a batch."""
        passes = batch if self.consistency is None else batch.twice(self.consistency.input_cut)
        features, attention = self.model(passes, weights.teacher_forcing, need_weights=self.needs_weights)
        sums = sequence_loss(
            features, batch.tgt_out, batch.tgt_positions, self.model.output, self.smoothing, self.consistency
        )
        total, attention = sums.total, attention[: len(batch.src_ids)]  # of the first pass, whose input is not cut
        if weights.coverage > 0:
            total = total + weights.coverage * coverage_loss(attention, batch.tgt_mask)
        if self.guided is not None and batch.guide is not None and weights.guided > 0:
            total = total + weights.guided * guided_loss(attention, batch.guide, self.guided)
        return sums._replace(total=total)


def _keep_padding(model: Seq2Seq) -> None:
    """Keep the embedding of PAD, which stands for cut tokens, as it is; a tied output layer would change it."""
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.weight.requires_grad:
            padding = torch.tensor([PAD], device=module.weight.device)
            module.weight.register_hook(partial(_without_row, padding))  # type: ignore[no-untyped-call]


def _without_row(row: Tensor, gradient: Tensor) -> Tensor:
    """Return a gradient that is 0 in one row."""
    return gradient.index_fill(0, row, 0.0)
