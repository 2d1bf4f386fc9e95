"""What all sections of the configuration share: strict types, ranges, refusals that say why."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]
Layers = Annotated[int, Field(gt=0, le=100)]
NonNegative = Annotated[int, Field(ge=0)]
Metric = Literal["loss", "ppl", "bleu", "chrf"]
LOWER_IS_BETTER: tuple[Metric, ...] = ("loss", "ppl")


def problem(message: str) -> PydanticCustomError:
    """A validation error that says just `message`; braces in it stay as they are, half characters become escapes."""
    sayable = message.encode("utf-8", "backslashreplace").decode()
    return PydanticCustomError("value_error", "{message}", {"message": sayable})


class Section(BaseModel):
    """A part of the configuration: strict types, unknown keys refused, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
