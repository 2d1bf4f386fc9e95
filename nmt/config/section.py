"""What all sections of the configuration share: strict types, ranges, refusals that give the reason."""

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
Metric = Literal["loss", "ppl", "bleu", "chrf"]
LOWER_IS_BETTER: tuple[Metric, ...] = ("loss", "ppl")


@dataclass(frozen=True)
class Problem:
    """Settings that are valid one by one, but not together.

    Attributes:
        message: the reason and the remedy.
        keys: the keys that take part, dotted, as seen from the section that names the problem; the first one gives the
            line number.
    """

    message: str
    keys: tuple[str, ...] = ()


def problem(message: str) -> PydanticCustomError:
    """Return a validation error that says just `message`; half characters become escapes."""
    return PydanticCustomError("value_error", "{message}", {"message": printable(message)})


def printable(message: str) -> str:
    """Return a text in which half characters, which cannot be printed, are escapes."""
    return message.encode("utf-8", "backslashreplace").decode()


def _as_yaml(value: Any) -> str:
    """Return a value as it is written in a configuration."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class Section(BaseModel):
    """A part of the configuration: strict types, unknown keys refused, immutable.

    A subclass names in `belongs` the options that have an effect only beside certain values of another option, and
    overrides `problems` for everything else that does not go together.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)
    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {}
    """Option -> (other option, the values of the other one with which the first has an effect)."""

    def problems(self) -> Iterator[Problem]:
        """Yield what does not go together in this section."""
        yield from ()

    def _without_effect(self) -> Iterator[Problem]:
        for option, (other, values) in self.belongs.items():
            if getattr(self, other) in values or getattr(self, option) == type(self).model_fields[option].get_default(
                call_default_factory=True
            ):
                continue
            wanted = " or ".join(_as_yaml(value) for value in values)
            yield Problem(
                f"{option} has no effect with {other}: {_as_yaml(getattr(self, other))}, it belongs to {wanted}; take "
                f"it out, or change {other}",
                (option, other),
            )

    @model_validator(mode="after")
    def _no_problems(self) -> Self:
        found = [*self._without_effect(), *self.problems()]
        if found:
            text = "; ".join(printable(one.message) for one in found)
            raise PydanticCustomError("problems", "{text}", {"text": text, "problems": found})
        return self
