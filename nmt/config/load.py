"""Read a `Config` from YAML and write it; all problems are reported at once, each with its key path and line.

Problems are found before torch is imported.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from nmt.atomic import atomic_write
from nmt.config import RESUMABLE_KEYS, Comparison, Config, Section
from nmt.config.choice import choice_of
from nmt.config.explain import Explained, explain
from nmt.config.yaml_text import KeyPath, dotted, dump, parse, parse_value
from nmt.errors import ConfigError

Loaded = TypeVar("Loaded", bound=Section)
_LARGEST = 1 << 20  # bytes of a configuration file
_ROUNDS = 10  # how often a configuration is validated at most, each time without the settings found wrong


def load_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration file and apply ``key.path=value`` overrides.

    Args:
        path: a YAML file.
        overrides: strings such as ``model.attention.score=general``; the value is read as YAML.

    Raises:
        ConfigError: naming every problem, with its line and the nearest valid name.
    """
    settings, problems = _parse_overrides(overrides)
    return _load(Config, path, settings, problems)


def load_comparison(path: Path, overrides: Iterable[str] = ()) -> tuple[Comparison, dict[str, Config]]:
    """Read a comparison and the configurations of all its variants.

    Args:
        path: a YAML file; see `config.Comparison`.
        overrides: ``key.path=value`` strings that hold for every variant.

    Returns:
        The comparison, and the configuration of each run by its name; see `Comparison.runs`.

    Raises:
        ConfigError: naming every problem of the comparison, or of all variants.
    """
    settings, problems = _parse_overrides(overrides)
    problems += [f"--set {keys[0]}: variants are named in the comparison" for keys, _ in settings if keys == ("name",)]
    try:
        comparison = _load(Comparison, path, [one for one in settings if one[0] == ("runs_dir",)], [])
    except ConfigError as error:
        values, _, _ = parse(_read(path), str(path))
        if "variants" in values:
            raise
        raise ConfigError(
            f"{error}\n{path} does not describe a comparison, which has a base (a configuration) and variants: "
            f"docs/comparing.md. For models that are trained already: nmt eval -m RUN --versus RUN"
        ) from None
    if comparison.seeds:
        problems += [f"--set {keys[0]}: the comparison has seeds" for keys, _ in settings if keys == ("seed",)]
    configs, wrong = {}, list(problems)
    for name, own in comparison.variants.items():
        changes = [(tuple(key.split(".")), value) for key, value in [*comparison.set.items(), *own.items()]]
        wrong += [
            f"variant '{name}': {key} is that of the comparison and cannot be set for its variants"
            for key in ("name", "runs_dir")
            if any(keys == (key,) for keys, _ in changes)
        ]
        seeds: list[int | None] = [*comparison.seeds] or [None]
        for run, seed in zip(comparison.runs[name], seeds, strict=True):
            position: list[tuple[KeyPath, Any]] = [(("name",), run), (("runs_dir",), str(comparison.folder))]
            position += [] if seed is None else [(("seed",), seed)]
            try:
                configs[run] = _load(Config, path.parent / comparison.base, [*changes, *settings, *position], [])
            except ConfigError as error:
                wrong.append(f"variant '{name}': {error}")
                break
    if wrong:
        raise ConfigError("\n".join(f"{path}: {one}" for one in wrong))
    return comparison, configs


def save_config(config: Config, path: Path) -> None:
    """Write the resolved configuration as YAML, with every default spelled out."""
    with atomic_write(path) as tmp_path:
        tmp_path.write_text(dump(config.model_dump(mode="json")), encoding="utf-8")


def differing_keys(old: Config, new: Config) -> list[str]:
    """Return the changed keys that make `new` a different run from `old`, with both values (see RESUMABLE_KEYS)."""
    before, after = dict(_flatten(old.model_dump())), dict(_flatten(new.model_dump()))
    return [
        f"{key}: {before.get(key)!r} -> {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
        and not any(key == allowed or key.startswith(allowed + ".") for allowed in RESUMABLE_KEYS)
    ]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            yield from _flatten({str(at): item for at, item in enumerate(value)}, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _load(kind: type[Loaded], path: Path, settings: list[tuple[KeyPath, Any]], problems: list[str]) -> Loaded:
    """Read and validate a YAML file, with some settings replaced.

    Args:
        kind: the section that the file as a whole describes.
        path: the file.
        settings: key paths and their new values.
        problems: the problems already found on the command line.
    """
    values, lines, found = parse(_read(path), str(path))
    problems = [*found, *problems]
    for keys, value in settings:
        problems += _override(values, lines, keys, copy.deepcopy(value))
    _drop_overridden(kind, values, lines, ())
    values.setdefault("name", _name_from(path))
    loaded, wrong = _validate(kind, values)
    problems += [_at_line(one, lines, str(path)) for one in wrong]
    if problems or loaded is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{path}: {count} in the configuration\n" + "\n".join(f"  {item}" for item in problems))
    return loaded


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error}") from None
    if len(content) > _LARGEST:
        raise ConfigError(f"{path}: larger than {_LARGEST} bytes, so it cannot be a configuration")
    return text


def _name_from(path: Path) -> str:
    """Return the default name of a run: the file's, with '-' for each character unsuitable for a folder's name."""
    cleaned = "".join(char if char.isalnum() or char in "._-" else "-" for char in path.stem).lstrip(".-_")
    return cleaned or "run"


def _validate(kind: type[Loaded], values: dict[str, Any]) -> tuple[Loaded | None, list[Explained]]:
    """Return the validated section, or None if there are problems, and all the problems.

    Wrong settings are removed and the rest is validated again, so that all problems are found at once. In later rounds,
    a problem that involves several settings is dropped if one of them has already been found wrong.
    """
    found: list[Explained] = []
    wrong: set[KeyPath] = set()
    remaining = copy.deepcopy(values)
    for _ in range(_ROUNDS):
        try:
            loaded = kind.model_validate(remaining)
        except ValidationError as error:
            explained = explain(error.errors(include_url=False), kind)
        else:
            return (None if found else loaded), found
        new = [one for one in explained if not any(_touches(path, wrong) for path in one.paths)]
        found += [one for one in new if one not in found]
        removed = {path for one in explained if (path := _remove_first(remaining, one.paths)) is not None}
        if not removed:
            break
        wrong |= removed
    return None, found


def _touches(path: KeyPath, others: set[KeyPath]) -> bool:
    return any(path[: len(other)] == other or other[: len(path)] == path for other in others if other)


def _remove_first(values: dict[str, Any], paths: tuple[KeyPath, ...]) -> KeyPath | None:
    """Remove the first setting that exists, or else the section that lacks it; return its path, or None."""
    sections = tuple(path[:end] for path in paths[:1] for end in range(len(path) - 1, 0, -1))
    return next((path for path in (*paths, *sections) if _remove(values, path)), None)


def _remove(values: dict[str, Any], path: KeyPath) -> bool:
    """Remove a setting; return False if it does not exist."""
    section: Any = values
    for depth, key in enumerate(path[:-1]):
        if not isinstance(section, dict) or key not in section:
            return False
        if not isinstance(section[key], dict):
            return _remove(values, path[: depth + 1])
        section = section[key]
    if not path or not isinstance(section, dict) or path[-1] not in section:
        return False
    del section[path[-1]]
    return True


def _at_line(problem: Explained, lines: Mapping[KeyPath, int], name: str) -> str:
    full = problem.paths[0] if problem.paths else ()
    # A list of sources is written without the key `parts`.
    path = tuple(key for at, key in enumerate(full) if key != "parts" or full[: at + 1] in lines)
    line = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)
    where = {None: "", 0: "--set "}.get(line, f"line {line}: ")
    return f"{where}{dotted(path) or name}: {problem.message}"


def _parse_overrides(overrides: Iterable[str]) -> tuple[list[tuple[KeyPath, Any]], list[str]]:
    settings: list[tuple[KeyPath, Any]] = []
    problems = []
    for override in overrides:
        key_path, equals, text = override.partition("=")
        keys = tuple(key_path.strip().split("."))
        if not equals or not all(keys):
            problems.append(f"--set {override}: write it as key.path=value")
            continue
        try:
            settings.append((keys, parse_value(text)))
        except ValueError as error:
            problems.append(f"--set {override}: {error}")
    return settings, problems


_CHOICES_BY_NAME = {"attention": "score", "encoder": "type", "decoder": "type"}  # sections that a name can stand for


def _override(values: dict[str, Any], lines: dict[KeyPath, int], keys: KeyPath, value: Any) -> list[str]:
    """Set one key in place, with line 0 for the command line. Return the problem in a list, empty if there is none."""
    section = values
    for depth, key in enumerate(keys[:-1]):
        below = section.setdefault(str(key), {})
        if isinstance(below, str) and keys[:depth] in (("data",), ("model",)):
            # A name alone, such as builtin:phrasebook, additive or transformer, is replaced by a mapping.
            choice = _CHOICES_BY_NAME.get(str(key)) if keys[:depth] == ("model",) else None
            below = section[str(key)] = {} if choice is None else {choice: below}
        if not isinstance(below, dict):
            there = "a list, which is given whole" if isinstance(below, list) else "a value, not a section"
            return [f"--set {dotted(keys)}: {dotted(keys[: depth + 1])} is {there}"]
        section = below
    section[str(keys[-1])] = value
    for depth in range(1, len(keys) + 1):
        lines.setdefault(keys[:depth], 0)
    lines[keys] = 0
    return []


def _drop_overridden(
    section: type[BaseModel], values: dict[str, Any], lines: Mapping[KeyPath, int], at: KeyPath
) -> None:
    """Remove, in place, the options in the file that belong to a choice that an override has replaced.

    With ``--set model.attention.score=dot``, the `size` that the file gives for the score `additive` no longer has a
    meaning and is removed. A `size` that is itself an override stays, and validation refuses it.
    """

    def overridden(key: str) -> bool:
        return lines.get((*at, key)) == 0

    for option, (other, allowed) in (section.belongs if issubclass(section, Section) else {}).items():
        if option in values and overridden(other) and not overridden(option) and values.get(other) not in allowed:
            del values[option]
    for name, field in section.model_fields.items():
        inner = values.get(name)
        if not isinstance(inner, dict):
            continue
        chosen, choice = field.annotation, choice_of(field)
        if choice is not None:
            try:
                chosen = choice.section(inner.get(choice.key, choice.default))
            except (PydanticCustomError, TypeError, AttributeError):
                continue  # the validation says what is wrong with the name
            if lines.get((*at, name, choice.key)) == 0:
                known = {key for other in choice.builtin.values() for key in other.model_fields}
                for key in [key for key in inner if key in known - chosen.model_fields.keys()]:
                    if lines.get((*at, name, key)) != 0:
                        del inner[key]
        if isinstance(chosen, type) and issubclass(chosen, BaseModel):
            _drop_overridden(chosen, inner, lines, (*at, name))
