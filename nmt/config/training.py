"""The training loop: optimiser, schedule, losses, validation, stopping."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from nmt.config.section import Fraction, Metric, NonNegative, Positive, Probability, Problem, Section


class OptimizerConfig(Section):
    """The optimiser of the parameters; `betas` and `eps` are Adam's, `momentum` is SGD's."""

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {
        "betas": ("name", ("adam", "adamw")),
        "eps": ("name", ("adam", "adamw")),
        "momentum": ("name", ("sgd",)),
    }
    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0.0)] = 1e-3
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)] = Field(default_factory=lambda: [0.9, 0.98])
    eps: Annotated[float, Field(gt=0.0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    momentum: Fraction = 0.0


class ScheduleConfig(Section):
    """The learning rate over updates: `lr` times a factor.

    In every schedule, the rate first increases linearly for `warmup` updates. Then `inverse_sqrt` decreases it with the
    inverse square root of the update (Vaswani et al. 2017), and `cosine` decreases the factor to `min_factor` at update
    `total`. `plateau` multiplies the factor by `factor` each time `metric` has not improved for more than `patience`
    validations, but never goes below `min_factor`. Without `total`, the cosine ends with the run: after its epochs or
    at `training.max_updates`, whichever comes first, with the values of these settings when the run began.
    """

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {
        "total": ("type", ("cosine",)),
        "metric": ("type", ("plateau",)),
        "factor": ("type", ("plateau",)),
        "patience": ("type", ("plateau",)),
        "min_factor": ("type", ("cosine", "plateau")),
    }
    type: Literal["constant", "inverse_sqrt", "cosine", "plateau"] = "constant"
    warmup: NonNegative = 0
    total: Positive | None = None
    metric: Metric = "ppl"
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    patience: NonNegative = 2
    min_factor: Probability = 0.01

    def problems(self) -> Iterator[Problem]:
        """Yield a missing or invalid setting that the type of schedule needs."""
        if self.type == "cosine" and self.total is not None and self.total <= self.warmup:
            keys = ("total", "warmup")
            yield Problem("the schedule cosine needs a total (the update at which it ends) larger than warmup", keys)
        if self.type == "inverse_sqrt" and self.warmup == 0:
            yield Problem("the schedule inverse_sqrt needs a warmup of at least 1 update", ("warmup",))


class TeacherForcingConfig(Section):
    """The probability, per token, of feeding the gold word instead of the model's own argmax (Bengio et al. 2015).

    Updates u are counted from 1. `linear` goes from `start` to `end` in `updates` updates. `inverse_sigmoid` is
    (k + 1) / (k + exp((u - 1) / k)) with k = `updates`, scaled so that it goes from `start` at the first update to
    `end`.
    """

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {
        "end": ("schedule", ("linear", "inverse_sigmoid")),
        "updates": ("schedule", ("linear", "inverse_sigmoid")),
    }
    schedule: Literal["constant", "linear", "inverse_sigmoid"] = "constant"
    start: Probability = 1.0
    end: Probability = 0.0
    updates: Positive = 1000

    @property
    def is_always(self) -> bool:
        """Whether every step is fed the gold word."""
        return self.schedule == "constant" and self.start >= 1.0


class ValidationConfig(Section):
    """How often and how the model is validated.

    `every` is the number of updates between two validations; with 0 the model is validated after each epoch.
    `sentences` is how many validation sentences are decoded for BLEU and chrF, by plain search with a beam of
    `beam_size`, whatever else `decoding` says about sampling and candidates; with 0 only loss and perplexity are
    computed. `samples` is how many of the decoded sentences are written to the log and drawn as heat maps.
    """

    every: NonNegative = 0
    sentences: NonNegative = 500
    beam_size: Positive = 1
    samples: NonNegative = 3


class EarlyStoppingConfig(Section):
    """Stop when `metric` has not improved for `patience` validations in a row (0: never).

    The best checkpoint is kept in any case.
    """

    metric: Metric = "bleu"
    patience: NonNegative = 10


class GuidedConfig(Section):
    """Guide the attention to word links (Chen et al. 2016); the guidance loss per target piece is weighted by `weight`.

    `links` says where the links come from:

    - `auto`: the links that come with the corpus, or `bitext` if it has none;
    - `bitext`: a word aligner makes them from the training text before the first update;
    - `corpus`: only the links that come with the corpus;
    - the name of a file with one line of Pharaoh links (i-j, from 0) for each training pair.

    `level` is the unit that the links of a file or of the aligner connect: `words`, which are also split at punctuation
    (`nmt words` prints them), or `tokens`, which are separated by white space.

    `step` is the step of the decoder that is guided to a word's links: the step that `predicts` the word, as in the
    paper, or the next step, which has the word as its `input` and so already knows it. `auto` is `input` for the
    decoder of a Transformer if other heads remain for predicting and every step is fed the gold word, and `predicts`
    otherwise.

    `loss` is `cross_entropy`, `squared`, or `auto`, which is cross-entropy if no weight can be exactly 0 and squared
    otherwise. After each epoch the weight is multiplied by `decay`. This section has no effect on a model without
    attention.
    """

    enabled: bool = True
    links: str = "auto"
    level: Literal["words", "tokens"] = "words"
    step: Literal["auto", "predicts", "input"] = "auto"
    loss: Literal["auto", "cross_entropy", "squared"] = "auto"
    weight: Annotated[float, Field(gt=0.0)] = 0.3
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0


class PretrainedEmbeddingsConfig(Section):
    """Files of word vectors (word2vec, fastText, GloVe) that initialise the embeddings of a new training.

    Paths are relative to `data.root`. The vectors must be as wide as `model.embedding_size`. Pieces that do not match a
    word in the file start at random. With tied embeddings, those of the target are applied after those of the source.
    `data.reverse` exchanges the two files as well.
    """

    src: str | None = None
    tgt: str | None = None


class ConsistencyConfig(Section):
    """Pass each pair through the model twice, and train the two distributions of every target token to agree.

    This doubles the training time and reduces overfitting on small corpora.

    - `rdrop`: each pass has its own dropout (except `model.dropout.recurrent`), and both learn the gold tokens. The
      loss is half that of Liang et al. 2021 (R-Drop: Regularized dropout for neural networks, equation 4), so it is
      the mean of the two passes.
    - `simcut`: in the second pass, each source and target token is replaced by a vector of zeros with probability
      `cut`. Only the first pass learns the gold tokens (Gao et al. 2022, Bi-SimCut, equation 5; `weight` 3, `cut`
      0.05).

    `weight` is the papers' alpha.
    """

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {
        "weight": ("type", ("rdrop", "simcut")),
        "cut": ("type", ("simcut",)),
    }
    type: Literal["none", "rdrop", "simcut"] = "none"
    weight: Annotated[float, Field(gt=0.0)] = 3.0
    cut: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05

    @property
    def input_cut(self) -> float:
        """The probability with which an input token of the second pass is cut."""
        return self.cut if self.type == "simcut" else 0.0

    @property
    def factors(self) -> tuple[float, float, float, float]:
        """The factors of both passes' cross-entropies (first, second), KL(first || second) and KL(second || first)."""
        if self.type == "rdrop":
            return 0.5, 0.5, self.weight / 4, self.weight / 4
        return 1.0, 0.0, self.weight, 0.0


class AveragingConfig(Section):
    """How many checkpoints are averaged at the end of training (0: none), and which.

    `which` chooses the `last` checkpoints, or the `best` ones by the metric that early stopping watches. Instead of
    averaging checkpoints, `ema` keeps an exponential moving average of the weights over all updates, with a decay such
    as 0.999 (0: none); the decay in update n is at most (1 + n) / (10 + n). The mean becomes the best model if it
    validates better.
    """

    checkpoints: NonNegative = 0
    which: Literal["last", "best"] = "last"
    ema: Fraction = 0.0


ModelPart = Literal["src_embedding", "tgt_embedding", "encoder", "decoder", "attention", "output"]


class TrainingConfig(Section):
    """The training loop.

    `batch_size` is the largest number of padded tokens on the longer side, or of sentences. Each update learns from
    `accumulate` batches. `precision` is that of the matrix products: `auto` uses bfloat16 if the device is faster with
    it; `tf32` is float32 with factors of 10 bits on NVIDIA GPUs; `fp16` scales the loss, for GPUs without bfloat16.
    `device` is `auto`, `cpu`, `cuda`, `cuda:1`, ...; `threads: 0` uses one thread for each core. `label_smoothing` is
    the share of the target distribution that is divided among pieces: `smoothed_pieces: all` divides it among all of
    the vocabulary, and `target` among those on the target side of the training text (masked label smoothing, Chen et
    al. 2022), which are fewer if both languages share a vocabulary. With subword sampling, those of the best
    segmentations count. `coverage_loss` is the weight of the penalty for attending to the same positions again (See et
    al. 2017, equation 12); it applies after update `coverage_loss_after`. `freeze` names the parts of the model that
    are not trained, for fine-tuning (`nmt train --init-from`): `decoder` is the decoder without its embedding, and
    `attention` is the decoder's attention to the source.
    """

    epochs: Positive = 20
    max_updates: Positive | None = None
    max_minutes: Annotated[float, Field(gt=0.0)] | None = None
    batch_unit: Literal["tokens", "sentences"] = "tokens"
    batch_size: Positive = 2048
    accumulate: Positive = 1
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    device: str = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    clip_norm: Annotated[float, Field(ge=0.0)] = 1.0
    label_smoothing: Fraction = 0.1
    smoothed_pieces: Literal["all", "target"] = "all"
    guided_alignment: GuidedConfig = GuidedConfig()
    coverage_loss: Annotated[float, Field(ge=0.0)] = 0.0
    coverage_loss_after: NonNegative = 0
    consistency: ConsistencyConfig = ConsistencyConfig()
    freeze: list[ModelPart] = Field(default_factory=list)
    pretrained_embeddings: PretrainedEmbeddingsConfig = PretrainedEmbeddingsConfig()
    teacher_forcing: TeacherForcingConfig = TeacherForcingConfig()
    validation: ValidationConfig = ValidationConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    keep_last: Positive = 2
    averaging: AveragingConfig = AveragingConfig()
    log_every: Positive = 50
    tensorboard: bool = True

    def problems(self) -> Iterator[Problem]:
        """Yield each conflict between the training settings."""
        if self.coverage_loss_after and not self.coverage_loss:
            yield Problem(
                "coverage_loss_after has no effect while coverage_loss is 0; take it out, or set coverage_loss",
                ("coverage_loss_after", "coverage_loss"),
            )
        if self.smoothed_pieces != "all" and not self.label_smoothing:
            yield Problem(
                "smoothed_pieces has no effect while label_smoothing is 0; take it out, or set label_smoothing",
                ("smoothed_pieces", "label_smoothing"),
            )
        averaging = self.averaging
        if averaging.checkpoints == 1:
            yield Problem(
                "averaging.checkpoints is 1, and one checkpoint is its own mean; set it to 2 or more, or to 0 for no "
                "average",
                ("averaging.checkpoints",),
            )
        if averaging.ema and averaging.checkpoints:
            yield Problem(
                "averaging has checkpoints and ema, but there is only one mean; take one of them out",
                ("averaging.ema", "averaging.checkpoints"),
            )
        if averaging.which != "last" and averaging.checkpoints == 0:
            yield Problem(
                "averaging.which has no effect while averaging.checkpoints is 0; take it out, or set checkpoints",
                ("averaging.which", "averaging.checkpoints"),
            )
        yield from self._problems_of_validation()
        if averaging.which == "last" and averaging.checkpoints > self.keep_last:
            yield Problem(
                f"averaging.checkpoints is {averaging.checkpoints}, but only keep_last = {self.keep_last} checkpoints "
                f"are kept; raise keep_last",
                ("averaging.checkpoints", "keep_last"),
            )
        metrics = {"early_stopping.metric": self.early_stopping.metric}
        if self.schedule.type == "plateau":
            metrics["schedule.metric"] = self.schedule.metric
        for key, metric in metrics.items():
            if metric in ("bleu", "chrf") and self.validation.sentences == 0:
                yield Problem(
                    f"training.{key} is {metric}, which needs sentences to decode: set training.validation.sentences "
                    f"above 0, or set the metric to loss or ppl",
                    (key, "validation.sentences"),
                )

    def _problems_of_validation(self) -> Iterator[Problem]:
        """Yield the options of decoding that are set although no sentence is decoded; `samples: 0` is allowed."""
        validation = self.validation
        if validation.sentences:
            return
        for option, allowed in (("beam_size", (1,)), ("samples", (0, 3))):
            if getattr(validation, option) not in allowed:
                yield Problem(
                    f"validation.{option} has no effect while validation.sentences is 0; take it out, or set sentences",
                    (f"validation.{option}", "validation.sentences"),
                )
