"""The training loop: a generator that yields after every update, so that its caller can save, validate and log."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nmt.arrays import IntArray
from nmt.config import TrainingConfig
from nmt.data.batching import Batch, plan_batches
from nmt.data.dataset import PieceCorpus
from nmt.errors import TrainingError, out_of_memory
from nmt.model.seq2seq import Seq2Seq
from nmt.processes import Processes
from nmt.runtime import autocast, one_ahead, release_memory
from nmt.training.freeze import freeze
from nmt.training.loss import GuidedLoss, LossSums
from nmt.training.objective import LossWeights, Objective
from nmt.training.optimizer import Schedule, build_optimizer, teacher_forcing_ratio
from nmt.training.state_checks import optimizer_state, tensors_like, whole_number

log = logging.getLogger(__name__)
_ADVICE = "lower training.batch_size (and raise training.accumulate to learn alike), or data.max_length"
_HALVED_AT_MOST = 20  # updates in a row whose batches may be halved; after more, training stops with advice


@dataclass(frozen=True)
class Update:
    """The record of one update.

    Attributes:
        number: number of the update, from 1.
        epoch: number of the epoch, from 1.
        position: updates done in this epoch, out of `epoch_updates`.
        epoch_updates: updates in this epoch.
        loss: smoothed cross-entropy per target token, in nats.
        nll: negative log-likelihood per target token, in nats.
        src_tokens: real source tokens.
        tgt_tokens: real target tokens, including EOS.
        lr: learning rate.
        grad_norm: norm of the gradients before clipping; infinite if they overflowed float16 and the update was
            skipped.
        teacher_forcing: probability that a gold token was fed.
    """

    number: int
    epoch: int
    position: int
    epoch_updates: int
    loss: float
    nll: float
    src_tokens: int
    tgt_tokens: int
    lr: float
    grad_norm: float
    teacher_forcing: float

    @property
    def ends_epoch(self) -> bool:
        """Whether this is the last update of its epoch."""
        return self.position == self.epoch_updates


class Trainer:
    """Model, optimiser, schedule and position in the data: everything that a resumed run must restore."""

    def __init__(
        self,
        config: TrainingConfig,
        seed: int,
        model: Seq2Seq,
        device: torch.device,
        precision: torch.dtype,
        corpus_of_epoch: Callable[[int], PieceCorpus],
        guided: GuidedLoss | None = None,
        processes: Processes | None = None,
        smoothed: Tensor | None = None,
    ):
        """Prepare a training that has made no update yet.

        Args:
            config: the settings of the training loop.
            seed: the seed of the data order and, with several processes, of dropout.
            model: the model, on `device`.
            device: where to compute.
            precision: the precision of matrix products: float32, bfloat16 or float16.
            corpus_of_epoch: returns the training pairs of an epoch (from 0), in new pieces if the tokenizer samples.
            guided: the loss of guided alignment; None if the attention is not guided.
            processes: the processes that train together; None if this one trains alone.
            smoothed: ``[V]`` bool, True on the pieces that label smoothing favours; None for all.
        """
        self.processes = processes or Processes()
        self.local_stop_requests: Callable[[], Sequence[bool]] = tuple  # this process's reasons to stop, one flag each
        self.stop_requests: list[bool] = []  # for each reason, whether any process has it
        self.config, self.seed, self.model, self.device, self.precision = config, seed, model, device, precision
        self.corpus_of_epoch = corpus_of_epoch
        frozen = freeze(model, config.freeze)
        if frozen:
            log.info("%s parameters in %s are not trained (training.freeze)", f"{frozen:,}", ", ".join(config.freeze))
        self.objective = Objective(model, config, guided, smoothed)
        self.optimizer = build_optimizer(config.optimizer, model.parameters())
        self.schedule = Schedule(config.schedule, config.optimizer.lr)
        # float16 has no numbers below 6e-8, so the loss is scaled up to make its gradients larger. Those of the output
        # layer are made together with the loss, before it is scaled; they are large enough.
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
        self.epoch, self.position, self.update = 0, 0, 0
        self.average: list[torch.Tensor] = []  # the moving average of the parameters, from the first update on
        self.halved_in_a_row = 0  # updates whose batches had to be halved because memory ran out

    def updates(self) -> Iterator[Update]:
        """Train from the current position to the end of the last epoch; yield the record of each update.

        Raises:
            TrainingError: if the loss or the gradient is no longer finite; that update is not applied.
        """
        config = self.config
        self.objective.zero_padding()  # again, since the weights may have been replaced by those of another model
        while self.epoch < config.epochs:
            corpus = self.corpus_of_epoch(self.epoch)
            lengths = corpus.src_len, corpus.tgt_len
            plan = plan_batches(*lengths, config.batch_size, config.batch_unit, self.seed, self.epoch, corpus.weights)
            if not plan:
                raise TrainingError(f"there is no training pair in epoch {self.epoch + 1}")
            groups = [plan[i : i + config.accumulate] for i in range(0, len(plan), config.accumulate)]
            if self.position >= len(groups):
                raise TrainingError(
                    f"the run stands at update {self.position} of epoch {self.epoch + 1}, which has {len(groups)}; its "
                    f"checkpoint is damaged, so remove it"
                )
            of_all_epochs = config.epochs * len(groups)
            self.schedule.ends_at(min(of_all_epochs, config.max_updates or of_all_epochs))
            for batches, src_tokens, tgt_tokens in self._prepared(corpus, groups[self.position :]):
                done = self._learn(batches, src_tokens, tgt_tokens, self.position + 1, len(groups))
                self.position += 1
                if done.ends_epoch:
                    self.epoch, self.position = self.epoch + 1, 0
                yield done

    def _prepared(self, corpus: PieceCorpus, groups: list[list[IntArray]]) -> Iterator[tuple[list[Batch], int, int]]:
        """Yield, for each update, this process's batches on the device and the token counts over all processes.

        The counts are those of source and target tokens. While a GPU computes an update, the batches of the next one
        are prepared.
        """
        on_gpu = self.device.type == "cuda"

        def prepare(group: list[IntArray]) -> tuple[list[Batch], int, int]:
            src_tokens, tgt_tokens = corpus.token_counts(np.concatenate(group))
            shares = [share for batch in group if len(share := self.processes.shard(batch))]
            batches = [corpus.batch(share) for share in shares]
            return [batch.pinned() for batch in batches] if on_gpu else batches, src_tokens, tgt_tokens

        for batches, src_tokens, tgt_tokens in one_ahead(prepare, groups) if on_gpu else map(prepare, groups):
            yield [batch.to(self.device) for batch in batches], src_tokens, tgt_tokens

    def _learn(
        self, batches: list[Batch], src_tokens: int, tgt_tokens: int, position: int, epoch_updates: int
    ) -> Update:
        """Make one update from the summed gradients of `batches`, with the same weight for each token.

        The batches are this process's share of the pairs; token counts are over all processes.
        """
        self.model.train()
        self.update += 1
        weights = self._loss_weights()
        lr = self.schedule.lr(self.update)
        if self.processes.size > 1:  # so that dropout depends on the update, not on where the run was resumed
            torch.manual_seed(self.processes.seed(self.seed, self.update))
        sums = self._sum_over_processes(self._gradients(batches, weights, tgt_tokens))
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm or math.inf)
        # With one process and without float16, this is the only read of a GPU's memory in an update.
        loss_sum, nll_sum, grad_norm = torch.cat([sums, norm.to(sums)[None]]).tolist()
        too_large = (
            self.scaler.is_enabled() and self.scaler.get_scale() > 1.0
        )  # for float16, where a smaller scale helps
        if not math.isfinite(loss_sum) or not (math.isfinite(grad_norm) or too_large):
            self.update -= 1
            self.optimizer.zero_grad(set_to_none=True)
            what = "loss" if not math.isfinite(loss_sum) else "gradient"
            raise TrainingError(
                f"the {what} of update {self.update + 1} is not a finite number; in a new run (--set name=...), lower "
                f"training.optimizer.lr or set training.precision=fp32"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self._step()
        if self.config.averaging.ema and math.isfinite(grad_norm):  # otherwise the scaler has skipped the update
            self._move_average()
        return Update(
            number=self.update,
            epoch=self.epoch + 1,
            position=position,
            epoch_updates=epoch_updates,
            loss=loss_sum / tgt_tokens,
            nll=nll_sum / tgt_tokens,
            src_tokens=src_tokens,
            tgt_tokens=tgt_tokens,
            lr=lr,
            grad_norm=grad_norm,
            teacher_forcing=weights.teacher_forcing,
        )

    def _step(self) -> None:
        """Let the optimizer apply the gradients; at its first step, Adam allocates memory for two numbers per weight.

        Raises:
            TrainingError: if memory runs out.
        """
        try:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(
                f"memory ran out while update {self.update} was applied; {_ADVICE}, or make the model smaller"
            ) from None
        self.optimizer.zero_grad(set_to_none=True)

    def _move_average(self) -> None:
        """Update the moving average with the current parameters."""
        parameters = [parameter.detach() for parameter in self.model.parameters()]
        if not self.average:
            self.average = [parameter.clone() for parameter in parameters]
            return
        decay = min(self.config.averaging.ema, (1 + self.update) / (10 + self.update))
        torch._foreach_lerp_(self.average, parameters, 1.0 - decay)

    def take_average(self) -> None:
        """Set the parameters to their moving average, if there is one."""
        with torch.no_grad():
            for parameter, mean in zip(self.model.parameters(), self.average, strict=False):
                parameter.copy_(mean)

    def _gradients(self, batches: list[Batch], weights: LossWeights, tgt_tokens: int) -> Tensor:
        """Return the summed loss and negative log-likelihood ``[2]``; leave gradients per token in the parameters.

        If memory runs out, the batches are halved and the update is repeated, which does not change the sums of losses.

        Raises:
            TrainingError: if memory runs out again, or if it has run out in too many updates in a row.
        """
        try:
            sums = self._sum_losses(batches, weights, tgt_tokens)
            self.halved_in_a_row = 0
            return sums
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        self.optimizer.zero_grad(set_to_none=True)
        release_memory()
        self.halved_in_a_row += 1
        if self.halved_in_a_row > _HALVED_AT_MOST:
            raise TrainingError(f"memory ran out in {self.halved_in_a_row} updates in a row; {_ADVICE}")
        log.warning(
            "memory ran out in update %d; its batches are cut in half. If this happens again, %s", self.update, _ADVICE
        )
        halves = [half for batch in batches for half in batch.halves()]
        try:
            return self._sum_losses(halves, weights, tgt_tokens)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(
                f"memory ran out in update {self.update}, with its batches cut in half too; {_ADVICE}"
            ) from None

    def _sum_losses(self, batches: list[Batch], weights: LossWeights, tgt_tokens: int) -> Tensor:
        wide = next(self.model.parameters())
        total = torch.zeros(2, dtype=wide.dtype, device=wide.device)
        self.scaler.scale(total)  # the scaler must know the device even if this process has no batch in this update
        for batch in batches:
            with autocast(self.device, self.precision):
                sums: LossSums = self.objective(batch, weights)
            self.scaler.scale(sums.total / tgt_tokens).backward()  # type: ignore[no-untyped-call]
            total += torch.stack([sums.loss, sums.nll])
        return total

    def _sum_over_processes(self, sums: Tensor) -> Tensor:
        """Sum the gradients, the loss sums ``[2]`` and the requests to stop over all processes in one exchange.

        Returns:
            The loss sums; the gradients are replaced in place, and the requests are kept in `stop_requests`.
        """
        if self.processes.size == 1:
            return sums
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        wide, requests = parameters[0], list(self.local_stop_requests())
        parts = [
            wide.new_tensor([float(parameter.grad is not None) for parameter in parameters]),
            torch.cat([sums, sums.new_tensor(list(map(float, requests)))]),
            *(torch.zeros_like(one).flatten() if one.grad is None else one.grad.flatten() for one in parameters),
        ]
        has_gradient, shared, *gradients = self.processes.sum(torch.cat(parts)).split([len(part) for part in parts])  # type: ignore[no-untyped-call]
        for parameter, gradient, is_there in zip(parameters, gradients, has_gradient.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter) if is_there else None
        self.stop_requests = [value > 0 for value in shared[2:].tolist()]
        total: Tensor = shared[:2]
        return total

    def _loss_weights(self) -> LossWeights:
        """Return the weights of the losses in the current update."""
        config, guided = self.config, self.config.guided_alignment
        return LossWeights(
            teacher_forcing=teacher_forcing_ratio(config.teacher_forcing, self.update),
            guided=guided.weight * guided.decay**self.epoch if self.objective.guided else 0.0,
            coverage=config.coverage_loss if self.update > config.coverage_loss_after else 0.0,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all but the weights: optimiser, schedule, position, moving average, scaler, random generators."""
        return {
            "update": self.update,
            "epoch": self.epoch,
            "position": self.position,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": self.average,
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "random_mps": torch.mps.get_rng_state() if self.device.type == "mps" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, so that training continues from there; the weights are not included.

        Raises:
            KeyError: if something is missing; also IndexError, RuntimeError, TypeError or ValueError if something is
                not what `state_dict` returns.
        """
        self.update, self.epoch, self.position = (whole_number(state, key) for key in ("update", "epoch", "position"))
        self.optimizer.load_state_dict(optimizer_state(self.optimizer, state["optimizer"]))
        self.schedule.load_state_dict(state["schedule"])
        self.average = tensors_like(list(self.model.parameters()), state.get("average", []))
        if self.scaler.is_enabled() and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        if self.device.type == "mps" and state.get("random_mps") is not None:
            torch.mps.set_rng_state(state["random_mps"])
