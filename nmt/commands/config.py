"""`nmt config`: every setting with its type, its default and what can be chosen."""

import difflib
import inspect
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nmt.config import Choice, Config, Section
from nmt.config.choice import choice_of
from nmt.errors import ConfigError

_RANGES = {Gt: (">", "gt"), Ge: (">=", "ge"), Lt: ("<", "lt"), Le: ("<=", "le")}


def run_config(part: str | None) -> Iterator[str]:
    """Yield the settings of the configuration, or of a part of it, one per line, after what the part is for.

    Args:
        part: the dotted key of the part, such as ``model.attention``; None for all settings.

    Raises:
        ConfigError: if there is no such part.
    """
    rows = list(_rows(Config, ""))
    chosen = [row for row in rows if part is None or row[0] == part or row[0].startswith(f"{part}.")]
    if not chosen:
        parts = {".".join(key.split(".")[:depth]) for key, _, _ in rows for depth in (1, 2, 3, 4)}
        near = sorted(one for one in parts if one.endswith(f".{part}"))[:3]
        near = near or difflib.get_close_matches(str(part), parts, n=1)
        names = " or ".join(f"'{one}'" for one in near)
        raise ConfigError(f"there is no setting '{part}'" + (f"; did you mean {names}?" if near else ""))
    yield from _explained(part)
    widths = [max(len(row[column]) for row in chosen) for column in (0, 1)]
    for key, kind, default in chosen:
        yield f"{key:<{widths[0]}}  {kind:<{min(widths[1], 40)}}  {default}".rstrip()


def _explained(part: str | None) -> Iterator[str]:
    """Yield the explanation of a part that is a section, or of each section that can be chosen in its place."""
    sections: dict[type[BaseModel], list[str]] = {Config: []}
    for key in part.split(".") if part else ():
        fields = [section.model_fields[key] for section in sections if key in section.model_fields]
        sections = {}
        for field in fields:
            choice = choice_of(field)
            if choice is not None:
                for name, one in choice.builtin.items():
                    sections.setdefault(one, []).append(name)
            elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                sections.setdefault(field.annotation, [])
    for section, names in sections.items():
        if section is not Config and section.__doc__:
            if len(sections) > 1:
                yield f"{', '.join(names)}:"
            yield from inspect.cleandoc(section.__doc__).splitlines()
            yield ""


def _rows(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield key, type and default of each setting of a section and of the sections inside it."""
    belongs = section.belongs if issubclass(section, Section) else {}
    for name, field in section.model_fields.items():
        key = prefix + name
        if (items := _choice_of_items(field)) is not None:
            yield key, f"list of {' | '.join(items.names())}", _default(field)
        elif (choice := choice_of(field)) is not None:
            yield from _choice_rows(choice, key, field)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _rows(field.annotation, f"{key}.")
        else:
            only = f"  (for {belongs[name][0]}: {', '.join(map(str, belongs[name][1]))})" if name in belongs else ""
            yield key, _kind(field), _default(field) + only


def _choice_rows(choice: Choice, key: str, field: FieldInfo) -> Iterator[tuple[str, str, str]]:
    """Yield all names to choose from, also those of installed packages, and the settings of the built-in sections."""
    default = field.get_default(call_default_factory=True)
    name = getattr(default, choice.key, choice.default)
    yield f"{key}.{choice.key}", " | ".join(choice.names()), f"default {name}"
    sections: dict[type[Section], list[str]] = {}
    for builtin, section in choice.builtin.items():
        sections.setdefault(section, []).append(builtin)
    seen: set[str] = {f"{key}.{choice.key}"}
    for section, names in sections.items():
        for row in _rows(section, f"{key}."):
            if row[0] in seen and len(sections) == 1:
                continue
            if row[0] != f"{key}.{choice.key}":
                only = f"  (for {', '.join(names)})" if len(sections) > 1 else ""
                yield row[0], row[1], row[2] + only


def _choice_of_items(field: FieldInfo) -> Choice | None:
    """Return the choice that the items of a list field are validated by; None if the field is not such a list."""
    (item, *_) = (*typing.get_args(field.annotation), None)
    if typing.get_origin(field.annotation) is not list or typing.get_origin(item) is not typing.Annotated:
        return None
    return choice_of(FieldInfo.from_annotation(item))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, list):
        default = ", ".join(getattr(item, "name", str(item)) for item in default) or "[]"
    return f"default {'none' if default is None else str(default).lower() if isinstance(default, bool) else default}"


def _kind(field: FieldInfo) -> str:
    return " ".join([_type_name(field.annotation), *_ranges(field.metadata)])


def _ranges(metadata: Iterable[Any]) -> list[str]:
    return [
        f"{sign} {getattr(of, name)}"
        for of in metadata
        for kind, (sign, name) in _RANGES.items()
        if isinstance(of, kind)
    ]


def _type_name(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " | ".join("none" if part is type(None) else _type_name(part) for part in arguments)
    if origin is typing.Annotated:
        return " ".join([_type_name(arguments[0]), *_ranges(arguments[1:])])
    if origin is not None:
        return f"{origin.__name__} of {', '.join(_type_name(part) for part in arguments if part is not Ellipsis)}"
    return {"str": "text", "bool": "true | false"}.get(annotation.__name__, str(annotation.__name__))
