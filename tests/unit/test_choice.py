"""Sections of installed packages that cannot be used are named, and never end in a traceback."""

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from nmt.config import choice
from nmt.config.attention import ATTENTIONS, BaseAttentionConfig


class Thing:
    """No type that pydantic knows."""


class Impossible(BaseAttentionConfig):
    """A section with a field that cannot be validated."""

    score: str = "impossible"
    thing: Thing


def broken() -> Any:
    raise ImportError("no such library")


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: Impossible, "'impossible' of the package .*Thing"),
        (broken, "'impossible' of the package .*no such library"),
        (lambda: Thing, "not a subclass of BaseAttentionConfig"),
    ],
)
def test_a_section_that_cannot_be_used_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, load: Any, message: str
) -> None:
    entry_point = SimpleNamespace(load=load, dist=SimpleNamespace(name="bad-package"), value="bad:Section")
    monkeypatch.setattr(choice, "_entry_points", lambda group: {"impossible": entry_point})
    with pytest.raises(PydanticCustomError, match=message):
        ATTENTIONS.section("impossible")
