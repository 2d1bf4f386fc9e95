"""The optimiser, the learning rate over updates, and the teacher forcing ratio over updates."""

import logging
import math
from collections.abc import Iterable
from typing import Any, assert_never

import torch
from torch import nn

from nmt.config import LOWER_IS_BETTER, OptimizerConfig, ScheduleConfig, TeacherForcingConfig
from nmt.training.state_checks import number, whole_number

log = logging.getLogger(__name__)
_OTHER_END = 0.05  # relative difference that is worth a warning; with subword sampling, epochs differ by less


def build_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return Adam, AdamW or SGD over `parameters`, in torch's fused implementation (for CPU and GPU)."""
    parameters = list(parameters)
    decay, betas = config.weight_decay, (config.betas[0], config.betas[1])
    match config.name:
        case "sgd":
            return torch.optim.SGD(parameters, config.lr, momentum=config.momentum, weight_decay=decay, fused=True)
        case "adam":
            return torch.optim.Adam(parameters, config.lr, betas, config.eps, decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(parameters, config.lr, betas, config.eps, decay, fused=True)
        case _:
            assert_never(config.name)


class Schedule:
    """The learning rate: base rate x shape over updates x factor, which `plateau` lowers after bad validations.

    torch has these parts, but it has no plateau schedule with warm-up. The entire state of this class is four numbers.
    """

    def __init__(self, config: ScheduleConfig, base_lr: float):
        """Start at update 0 with a factor of 1.

        Args:
            config: the settings of the schedule.
            base_lr: the rate that shape and factor multiply.
        """
        self.config, self.base_lr = config, base_lr
        self.total = config.total
        self.warned = False
        self.factor, self.best, self.bad = 1.0, math.inf, 0

    def ends_at(self, update: int) -> None:
        """Set the end of a cosine schedule that has no `total` in its settings; only the first call has an effect.

        A run that is resumed with more or fewer epochs thus keeps its original end. If the two ends differ much, a
        warning is logged once.
        """
        if self.config.type != "cosine" or self.config.total is not None:
            return
        if self.total is not None:
            if abs(update - self.total) > _OTHER_END * self.total and not self.warned:
                log.warning(
                    "the cosine schedule ends at update %d, as when the run began; this training ends at update %d",
                    self.total,
                    update,
                )
                self.warned = True
            return
        self.total = update
        log.info("the cosine schedule ends at update %d (training.schedule.total)", update)
        if update <= self.config.warmup:
            log.warning("training.schedule.warmup is %d, so all %d updates are warm-up", self.config.warmup, update)

    def lr(self, update: int) -> float:
        """Return the rate at update number `update`, counted from 1."""
        config = self.config
        if update < config.warmup:
            return self.base_lr * update / config.warmup * self.factor
        match config.type:
            case "constant" | "plateau":
                shape = 1.0
            case "inverse_sqrt":
                shape = math.sqrt(config.warmup / update)
            case "cosine":
                total = self.total or update
                progress = min(1.0, (update - config.warmup) / max(1, total - config.warmup))
                shape = config.min_factor + (1.0 - config.min_factor) * (1.0 + math.cos(math.pi * progress)) / 2.0
            case _:
                assert_never(config.type)
        return self.base_lr * shape * self.factor

    def observe(self, metrics: dict[str, float]) -> None:
        """Record the metrics of a validation, which only `plateau` uses."""
        if self.config.type != "plateau":
            return
        value = metrics[self.config.metric]
        value = value if self.config.metric in LOWER_IS_BETTER else -value
        if value < self.best:
            self.best, self.bad = value, 0
            return
        self.bad += 1
        if self.bad > self.config.patience:
            self.factor, self.bad = max(self.config.min_factor, self.factor * self.config.factor), 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""
        return {"factor": self.factor, "best": self.best, "bad": self.bad, "total": self.total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            KeyError: if something is missing.
            ValueError: if something is not a number.
        """
        self.factor, self.best = number(state, "factor"), number(state, "best", finite=False)
        self.bad = whole_number(state, "bad")
        if self.config.total is None and state.get("total") is not None:
            self.total = whole_number(state, "total")


def teacher_forcing_ratio(config: TeacherForcingConfig, update: int) -> float:
    """Return the probability of feeding the gold token at update number `update`, counted from 1."""
    match config.schedule:
        case "constant":
            return config.start
        case "linear":
            share = max(0.0, 1.0 - (update - 1) / config.updates)
        case "inverse_sigmoid":
            decay = min(700.0, (update - 1) / config.updates)  # exp overflows for larger values
            share = (config.updates + 1) / (config.updates + math.exp(decay))
        case _:
            assert_never(config.schedule)
    return config.end + (config.start - config.end) * min(1.0, share)
