"""YAML to `Config` and back: every problem at once, each with its key path and line, before torch is imported."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from nmt.atomic import atomic_write
from nmt.config import RESUMABLE_KEYS, Comparison, Config, Section
from nmt.errors import ConfigError

KeyPath = tuple[str | int, ...]


Loaded = TypeVar("Loaded", bound=Section)


class _Loader(yaml.SafeLoader):
    """YAML with the core schema's scalars: `no` is a language, `1e-3` is a number."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}  # type: ignore[misc]


_NUMBER_START = list("-+0123456789.")


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", _NUMBER_START),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|nan)$", _NUMBER_START),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)

_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value, 10))


_LARGEST = 1 << 20  # bytes


def load_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration file and apply ``key.path=value`` overrides.

    Args:
        path: a YAML file.
        overrides: strings like ``model.attention.score=general``; the value is read as YAML.

    Raises:
        ConfigError: naming every problem, with its line and the nearest valid name.
    """
    return _load(Config, path, overrides)


def load_comparison(path: Path, overrides: Iterable[str] = ()) -> tuple[Comparison, dict[str, Config]]:
    """Read a comparison and the configurations of all its variants.

    Args:
        path: a YAML file; see `config.Comparison`.
        overrides: ``key.path=value`` strings that hold for every variant.

    Raises:
        ConfigError: naming every problem of the comparison or of the first variant that has one.
    """
    overrides = list(overrides)
    comparison = _load(Comparison, path, [one for one in overrides if one.startswith("runs_dir=")])
    configs = {}
    for name, settings in comparison.variants.items():
        own = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in settings.items()]
        common = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in comparison.set.items()]
        place = [f"name={name}", f"runs_dir={comparison.folder}"]
        try:
            configs[name] = load_config(path.parent / comparison.base, [*common, *own, *overrides, *place])
        except ConfigError as error:
            raise ConfigError(f"{path}: variant '{name}': {error}") from None
    return comparison, configs


def _load(kind: type[Loaded], path: Path, overrides: Iterable[str]) -> Loaded:
    """Read and validate a YAML file with overrides."""
    try:
        with path.open("rb") as file:
            read = file.read(_LARGEST + 1)
        text = read.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error}") from None
    if len(read) > _LARGEST:
        raise ConfigError(f"{path}: larger than {_LARGEST} bytes, which no configuration is")
    values, lines, problems = _parse_yaml(text, str(path))
    for override in overrides:
        problems += _override(values, lines, override)
    values.setdefault("name", path.stem)
    try:
        loaded = kind.model_validate(values)
    except ValidationError as error:
        problems += [_explain(detail, lines, str(path), kind) for detail in error.errors()]
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{path}: {count} in the configuration\n" + "\n".join(f"  {item}" for item in problems))
    return loaded


def save_config(config: Config, path: Path) -> None:
    """Write the resolved configuration, every default spelled out, as YAML."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    with atomic_write(path) as tmp_path:
        tmp_path.write_text(text, encoding="utf-8")


def differing_keys(old: Config, new: Config) -> list[str]:
    """Names the keys, with both values, whose change makes `new` another run than `old` (see RESUMABLE_KEYS)."""
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
        else:
            yield prefix + key, value


def _parse_yaml(text: str, name: str) -> tuple[dict[str, Any], dict[KeyPath, int], list[str]]:
    """The values, the line of each key path, and what is wrong with the file as YAML."""
    lines: dict[KeyPath, int] = {}
    problems: list[str] = []
    seen: set[int] = set()

    def build(node: yaml.Node, path: KeyPath) -> Any:
        if id(node) in seen:
            problems.append(
                f"line {node.start_mark.line + 1}: {_dotted(path)}: YAML aliases are not supported; write it out"
            )
            return None
        seen.add(id(node))
        lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            result: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = str(key_node.value)
                if key in result:
                    problems.append(
                        f"line {key_node.start_mark.line + 1}: {_dotted((*path, key))}: this key is given twice"
                    )
                lines[(*path, key)] = key_node.start_mark.line + 1
                result[key] = build(value_node, (*path, key))
            return result
        if isinstance(node, yaml.SequenceNode):
            return [build(item, (*path, index)) for index, item in enumerate(node.value)]
        return loader.construct_object(node)

    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        values = build(root, ()) if root is not None else {}
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{name}: not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{name}: not valid YAML: nested too deeply") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: a configuration is a mapping of keys to values, this is a {type(values).__name__}")
    return values, lines, problems


def _override(values: dict[str, Any], lines: dict[KeyPath, int], override: str) -> list[str]:
    """Set one ``key.path=value`` in place; line 0 stands for the command line."""
    key_path, equals, text = override.partition("=")
    keys = tuple(key_path.strip().split("."))
    if not equals or not all(keys):
        return [f"--set {override}: write it as key.path=value"]
    try:
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError):
        return [f"--set {override}: the value is not valid YAML"]
    section = values
    for depth, key in enumerate(keys[:-1]):
        below = section.setdefault(key, {})
        if isinstance(below, str) and keys[:depth] == ("data",):
            below = section[key] = {}  # the shorthand builtin:phrasebook gives way to a mapping
        if not isinstance(below, dict):
            return [f"--set {override}: {'.'.join(keys[: depth + 1])} is a value, not a section"]
        section = below
    section[keys[-1]] = value
    for depth in range(1, len(keys) + 1):
        lines.setdefault(keys[:depth], 0)
    lines[keys] = 0
    return []


def _explain(error: Any, lines: dict[KeyPath, int], name: str, kind: type[BaseModel]) -> str:
    """One line for one pydantic error: where, what, and the nearest valid name."""
    path, section = _resolve(error["loc"], kind)
    message = error["msg"][0].lower() + error["msg"][1:]
    if error["type"] == "extra_forbidden":
        message = "unknown key" + _nearest(str(path[-1]), section.model_fields)
    elif error["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        message = f"{error['input']!r} is not one of {', '.join(choices)}" + _nearest(str(error["input"]), choices)
    elif error["type"] == "missing":
        message = "is required"
    elif error["type"] == "union_tag_invalid":
        path, choices = (*path, "type"), re.findall(r"'([^']*)'", error["ctx"]["expected_tags"])
        message = f"{error['ctx']['tag']!r} is not one of {', '.join(choices)}" + _nearest(error["ctx"]["tag"], choices)
    elif error["type"] != "value_error":
        message += f", not {error['input']!r}"
    line = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)
    where = {None: "", 0: "--set "}.get(line, f"line {line}: ")
    return f"{where}{_dotted(path) or name}: {message}"


def _nearest(word: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def _resolve(loc: Iterable[str | int], whole: type[BaseModel]) -> tuple[KeyPath, type[BaseModel]]:
    """The key path of an error's place, and the section that its last key is in.

    In a section of several types (model.encoder), pydantic names the type in the place; it is no key.
    """
    path: list[str | int] = []
    section = whole
    choices: dict[str, type[BaseModel]] = {}
    below: type[BaseModel] | None = None
    for key in loc:
        if key in choices:
            below, choices = choices[str(key)], {}
            continue
        section = below or section
        path.append(key)
        sections = _sections_in(section.model_fields[key].annotation) if key in section.model_fields else []
        choices = {_name_of(kind): kind for kind in sections} if len(sections) > 1 else {}
        below = sections[0] if len(sections) == 1 else None
    return tuple(path), section


def _name_of(section: type[BaseModel]) -> str:
    """What `type` must be for a section of this kind."""
    return str(get_args(section.model_fields["type"].annotation)[0])


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections inside an annotation such as ``Section | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections_in(part)]


def _dotted(path: KeyPath) -> str:
    return ".".join(str(key) for key in path)
