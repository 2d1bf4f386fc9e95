"""Turn pydantic's errors into messages that say what is wrong, where, and which valid name is nearest."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from nmt.config.choice import Choice
from nmt.config.section import Section
from nmt.config.yaml_text import KeyPath, dotted

# What other toolkits call settings of ours that have another name here.
_OTHER_NAMES = {
    "learning_rate": "training.optimizer.lr",
    "max_steps": "training.max_updates",
    "train_steps": "training.max_updates",
    "max_epochs": "training.epochs",
    "num_epochs": "training.epochs",
    "max_grad_norm": "training.clip_norm",
    "clip_grad_norm": "training.clip_norm",
    "warmup_steps": "training.schedule.warmup",
    "warmup_updates": "training.schedule.warmup",
    "accum_count": "training.accumulate",
    "update_freq": "training.accumulate",
    "batch_type": "training.batch_unit",
    "num_layers": "model.encoder.layers",
    "ff_size": "model.encoder.feed_forward",
    "num_heads": "model.encoder.heads",
    "rnn_size": "model.encoder.hidden_size",
    "rnn_type": "model.encoder.cell",
    "tied_embeddings": "model.tie_embeddings",
    "valid_freq": "training.validation.every",
    "save_freq": "training.validation.every",
}


@dataclass(frozen=True)
class Explained:
    """One problem of a configuration.

    Attributes:
        message: what is wrong, and the remedy.
        paths: the key paths involved; the problem is reported at the first one.
    """

    message: str
    paths: tuple[KeyPath, ...]


def explain(errors: Iterable[Any], whole: type[BaseModel]) -> list[Explained]:
    """Return the problems that pydantic's errors stand for, with readable messages.

    Args:
        errors: as ``ValidationError.errors()`` gives them.
        whole: the section that was validated.
    """
    keys = list(_all_keys(whole))
    return [explained for error in errors for explained in _explain(error, (), whole, None, keys)]


def _explain(
    error: Any, prefix: KeyPath, whole: type[BaseModel], choice: Choice | None, keys: Sequence[str]
) -> Iterator[Explained]:
    path = (*prefix, *error["loc"])
    context = error.get("ctx", {})
    match error["type"]:
        case "in_choice":
            for inner in context["errors"]:
                yield from _explain(inner, path, context["section"], context["choice"], keys)
        case "problems":
            for found in context["problems"]:
                paths = tuple((*path, *key.split(".")) for key in found.keys)
                yield Explained(found.message, paths or (path,))
        case "unknown_choice":
            names, name = list(context["names"]), context["name"]
            hint = f"; here it is called '{context['alias']}'" if context["alias"] else _nearest(name, names)
            hint = hint or "; or it belongs to a package that is not installed here"
            message = f"{name!r} is not one of {', '.join(names)}{hint}"
            yield Explained(message, ((*path, context["key"]),))
        case "extra_forbidden":
            yield Explained(_unknown_key(error["loc"], whole, choice, dotted(path), keys), (path,))
        case "literal_error":
            choices = _choices(error["loc"], whole) or [context["expected"]]
            value = error["input"]
            hint = _nearest(value, choices) if isinstance(value, str) else ""
            yield Explained(f"{value!r} is not one of {', '.join(choices)}{hint}", (path,))
        case "model_type" | "dict_type" if isinstance(error["input"], str) and (name := _naming(error["loc"], whole)):
            yield Explained(f"this is a section; write {dotted((*path, name))}: {error['input']}", (path,))
        case "missing":
            yield Explained("is required", (path,))
        case "value_error":
            yield Explained(error["msg"], (path,))
        case _:
            message = error["msg"][0].lower() + error["msg"][1:]
            yield Explained(f"{message}, not {error['input']!r}{_quotes(error)}", (path,))


def _quotes(error: Any) -> str:
    """Return the advice to remove the quotation marks of a number or truth value; empty if it does not apply."""
    value = error["input"]
    wants_value = error["type"] in ("int_type", "float_type", "bool_type")
    if not (wants_value and isinstance(value, str)):
        return ""
    plain = value.strip().lower()
    fits = plain in ("true", "false") if error["type"] == "bool_type" else plain.lstrip("+-").replace(".", "").isdigit()
    return "; take the quotation marks off" if fits else ""


def _unknown_key(
    loc: tuple[str | int, ...], whole: type[BaseModel], choice: Choice | None, path: str, keys: Sequence[str]
) -> str:
    key = str(loc[-1])
    if choice is not None and len(loc) == 1:
        others = [name for name, section in choice.builtin.items() if key in section.model_fields]
        if others:
            name = _default_of(whole, choice.key)
            return f"unknown key: {key} belongs to the {choice.key} {' or '.join(others)}, not to '{name}'"
    if (ours := _OTHER_NAMES.get(key)) in keys:
        return f"unknown key; here it is called {ours!r}"
    same_name = [one for one in keys if one.rpartition(".")[2] == key and one != path]
    if same_name:
        return f"unknown key; did you mean {' or '.join(repr(one) for one in same_name[:3])}?"
    section = _section_at(loc[:-1], whole)
    if section is not None and (near := _nearest(key, section.model_fields)):
        return "unknown key" + near
    return "unknown key" + _nearest(path, keys)


def _naming(loc: tuple[str | int, ...], whole: type[BaseModel]) -> str | None:
    """Return the key of a section that says which kind it is, `name` or `type`; None if it has none."""
    section = _section_at(loc, whole)
    return next((key for key in ("name", "type") if section is not None and key in section.model_fields), None)


def _default_of(section: type[BaseModel], key: str) -> str:
    return str(section.model_fields[key].default) if key in section.model_fields else section.__name__


def _nearest(word: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def _section_at(loc: Iterable[str | int], whole: type[BaseModel]) -> type[BaseModel] | None:
    """Return the section at a key path inside `whole`; None if there is none. All items of a list have one section."""
    section: type[BaseModel] | None = whole
    for key in (key for key in loc if isinstance(key, str)):
        if section is None or key not in section.model_fields:
            return None
        section = next(_sections_in(section.model_fields[key].annotation), None)
    return section


def _choices(loc: tuple[str | int, ...], whole: type[BaseModel]) -> list[str]:
    """Return the values of the `Literal` at a key path inside `whole`; empty if there is none."""
    section = _section_at(loc[:-1], whole)
    if section is None or loc[-1] not in section.model_fields:
        return []
    return [str(value) for value in _literals_in(section.model_fields[str(loc[-1])].annotation)]


def _literals_in(annotation: Any) -> Iterator[Any]:
    for part in get_args(annotation):
        if isinstance(part, str | int):
            yield part
        elif part is not type(None):
            yield from _literals_in(part)


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections inside an annotation such as ``Section | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)


def _all_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a section and of the sections inside it; for a choice, the keys of its default."""
    for name, field in section.model_fields.items():
        default = field.get_default(call_default_factory=True)
        inner = type(default) if isinstance(default, Section) else next(_sections_in(field.annotation), None)
        yield prefix + name
        if inner is not None and inner is not section:
            yield from _all_keys(inner, f"{prefix}{name}.")
