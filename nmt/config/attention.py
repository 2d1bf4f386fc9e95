"""The attention between decoder and encoder: score, normaliser, window and coverage."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny

from nmt.config.choice import Choice
from nmt.config.section import Positive, Problem, Section

AttentionScore = Literal[
    "none", "additive", "concat", "dot", "scaled_dot", "general", "qkv", "location", "fc", "kernel"
]


class NormaliserConfig(Section):
    """How energies become attention weights; ``normaliser: sparsemax`` is short for ``normaliser: {type: sparsemax}``.

    To add one, an installed package registers a subclass in the entry-point group ``nmt.normaliser`` and overrides
    `build`.
    """

    type: str

    def build(self) -> Any:
        """Return a function from energies ``[..., S]`` (-inf where masked) to weights of the same shape."""
        raise NotImplementedError

    @property
    def gives_zeros(self) -> bool:
        """Whether a real source position can have a weight of exactly 0; override it if all weights are positive."""
        return True


class BuiltinNormaliserConfig(NormaliserConfig):
    """Softmax, or normalisers that give weights with exact zeros (`sparsemax`, `entmax15`) or a single 1 (`hard`)."""

    type: Literal["softmax", "sparsemax", "entmax15", "hard"] = "softmax"

    @property
    def gives_zeros(self) -> bool:
        """Whether a real source position can have a weight of exactly 0."""
        return self.type != "softmax"


NORMALISERS = Choice(
    group="nmt.normaliser",
    key="type",
    base=NormaliserConfig,
    builtin=dict.fromkeys(("softmax", "sparsemax", "entmax15", "hard"), BuiltinNormaliserConfig),
    default="softmax",
    aliases={"entmax": "entmax15", "argmax": "hard"},
)


class BaseAttentionConfig(Section):
    """The settings that every score can be combined with.

    - `normaliser`: turns energies into weights.
    - `window`: a Gaussian of standard deviation `window_size` / 2, cut off at distance `window_size`, around the target
      position (`local-m`) or a predicted one (`local-p`).
    - `coverage`: a memory of the attention so far, with one number (`linguistic`) or `coverage_size` numbers (`neural`)
      for each source piece.

    To add a score, an installed package registers a subclass, with its own `score` and options, in the entry-point
    group ``nmt.attention`` and overrides `build`; docs/extending.md has an example.
    """

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {
        "window_size": ("window", ("local-m", "local-p")),
        "coverage_size": ("coverage", ("neural",)),
    }
    score: str
    normaliser: Annotated[SerializeAsAny[NormaliserConfig], NORMALISERS.validator()] = BuiltinNormaliserConfig()
    window: Literal["none", "local-m", "local-p"] = "none"
    window_size: Annotated[float, Field(ge=1.0)] = 10.0
    coverage: Literal["none", "linguistic", "neural"] = "none"
    coverage_size: Positive = 10

    def build(self, query_size: int, memory_size: int, word_size: int) -> Any:
        """Return the score, a `nmt.model.attention.Score`.

        Args:
            query_size: width of the decoder's state.
            memory_size: width of the encoder's outputs.
            word_size: width of the embeddings.
        """
        raise NotImplementedError

    @property
    def gives_zeros(self) -> str | None:
        """The choice that allows a weight of exactly 0 on a real source position; None if there is none."""
        if self.normaliser.gives_zeros:
            return self.normaliser.type
        return None if self.window == "none" else f"the window {self.window}"


class AttentionConfig(BaseAttentionConfig):
    """The recurrent decoder's attention with one of the built-in scores.

    - `size`: hidden width of additive, concat, qkv (over all `heads`) and kernel.
    - `normed`: additive and concat with weight normalisation (normed Bahdanau).
    - `max_src_length`: for location and fc, the longest source in pieces.
    - `kernel`, `width`, `learned_width`: for the score `kernel`, its form k, its width sigma, and whether sigma is
      learned. The boxcar and Epanechnikov kernels have compact support, and keys outside it receive no gradient, so
      start with a width (for example 4) that covers all keys.
    """

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = BaseAttentionConfig.belongs | {
        "size": ("score", ("additive", "concat", "qkv", "kernel")),
        "heads": ("score", ("qkv",)),
        "normed": ("score", ("additive", "concat")),
        "max_src_length": ("score", ("location", "fc")),
        "kernel": ("score", ("kernel",)),
        "width": ("score", ("kernel",)),
        "learned_width": ("score", ("kernel",)),
    }
    score: AttentionScore = "additive"
    size: Positive = 512
    heads: Positive = 1
    normed: bool = False
    max_src_length: Positive = 100
    kernel: Literal["gaussian", "boxcar", "epanechnikov", "constant"] = "gaussian"
    width: Annotated[float, Field(gt=0.0)] = 1.0
    learned_width: bool = True

    @property
    def gives_zeros(self) -> str | None:
        """The choice that allows a weight of exactly 0 on a real source position; None if there is none."""
        compact = self.score == "kernel" and self.kernel in ("boxcar", "epanechnikov")
        return super().gives_zeros or (f"the kernel {self.kernel}" if compact else None)

    def problems(self) -> Iterator[Problem]:
        """Yield each conflict between the attention settings."""
        if self.score == "none" and (self.normaliser.type, self.window, self.coverage) != ("softmax", "none", "none"):
            yield Problem("the score 'none' has no weights, so no normaliser, window or coverage", ("score",))
        if self.score == "kernel" and self.kernel == "constant":
            for option in ("width", "learned_width"):
                if getattr(self, option) != type(self).model_fields[option].default:
                    message = f"{option} has no effect with kernel: constant, whose weights are all equal; take it out"
                    yield Problem(message, (option, "kernel"))
        if self.score == "qkv" and self.size % self.heads:
            yield Problem(f"size {self.size} is not a multiple of heads = {self.heads}", ("heads", "size"))


ATTENTIONS = Choice(
    group="nmt.attention",
    key="score",
    base=BaseAttentionConfig,
    builtin=dict.fromkeys(AttentionScore.__args__, AttentionConfig),  # type: ignore[attr-defined]
    default="additive",
    aliases={
        "bahdanau": "additive",
        "mlp": "additive",
        "luong": "general",
        "bilinear": "general",
        "multiplicative": "general",
        "multi_head": "qkv",
        "multihead": "qkv",
        "transformer": "qkv",
        "scaled-dot": "scaled_dot",
    },
)
AttentionField = Annotated[SerializeAsAny[BaseAttentionConfig], ATTENTIONS.validator()]
