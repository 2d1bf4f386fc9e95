"""The base of all sections of the configuration: strict types, ranges, and errors that give the reason."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]
Layers = Annotated[int, Field(gt=0, le=100)]
NonNegative = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Metric = Literal["loss", "ppl", "bleu", "chrf"]
LOWER_IS_BETTER: tuple[Metric, ...] = ("loss", "ppl")


@dataclass(frozen=True)
class Problem:
    """A conflict between settings, or a setting that is invalid for a reason that its type cannot express.

    Attributes:
        message: the reason and the remedy.
        keys: the dotted keys involved, relative to the section that reports the problem; the line number is that of
            the first one.
    """

    message: str
    keys: tuple[str, ...] = ()


def problem(message: str) -> PydanticCustomError:
    """Return a validation error whose text is `message`, with lone surrogates escaped."""
    return PydanticCustomError("value_error", "{message}", {"message": escape_surrogates(message)})


def escape_surrogates(message: str) -> str:
    """Return a message with lone surrogates escaped, since they cannot be printed."""
    return message.encode("utf-8", "backslashreplace").decode()


def _as_yaml(value: Any) -> str:
    """Return a value as it is written in a configuration."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class Section(BaseModel):
    """A part of the configuration. It is immutable, has strict types and refuses unknown keys.

    A subclass lists in `belongs` the options that have an effect only with certain values of another option. It
    overrides `problems` to report all other conflicts.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)
    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {}
    """Maps an option to another option and the values of that other option with which the first has an effect."""

    def problems(self) -> Iterator[Problem]:
        """Yield each conflict between the settings of this section."""
        yield from ()

    def _without_effect(self) -> Iterator[Problem]:
        for option, (other, values) in self.belongs.items():
            if getattr(self, other) in values or getattr(self, option) == type(self).model_fields[option].get_default(
                call_default_factory=True
            ):
                continue
            wanted = " or ".join(_as_yaml(value) for value in values)
            yield Problem(
                f"{option} has no effect with {other}: {_as_yaml(getattr(self, other))}; it belongs to {wanted}, so "
                f"take it out, or change {other}",
                (option, other),
            )

    @model_validator(mode="after")
    def _no_problems(self) -> Self:
        found = [*self._without_effect(), *self.problems()]
        if found:
            text = "; ".join(escape_surrogates(one.message) for one in found)
            raise PydanticCustomError("problems", "{text}", {"text": text, "problems": found})
        return self
