"""Convert YAML text to values and back, by the core schema of YAML 1.2 and with the line of every key."""

import re
from typing import Any, ClassVar, NamedTuple

import yaml

from nmt.errors import ConfigError

KeyPath = tuple[str | int, ...]
_NUMBER_START = list("-+0123456789.")
_SCALARS = (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", _NUMBER_START),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|nan)$", _NUMBER_START),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
)


class _Loader(yaml.SafeLoader):
    """A loader that reads `no` as text and `1e-3` as a number."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}  # type: ignore[misc]


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes exactly those texts that `_Loader` would read as something else."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}  # type: ignore[misc]

    def ignore_aliases(self, data: Any) -> bool:
        """Return True, so that repeated values are written out, since `parse` refuses aliases."""
        return True


for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
# Line separators other than \n survive in double quotes only.
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if re.search(r"[^\n -~\u00a0-\u2027\u202a-\ufefe]", text) else None
    ),
)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value, 10))


def dump(values: dict[str, Any]) -> str:
    """Return YAML that `parse` reads as the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def flow(values: dict[str, Any]) -> str:
    """Return a mapping on one line, without the enclosing braces: ``key: {inner: value}``."""
    text = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**6)
    return text.strip()[1:-1]


def parse_value(text: str) -> Any:
    """Return the value that a text such as ``3e-4`` or ``{score: dot}`` stands for.

    Raises:
        ValueError: if it is not valid YAML, gives a key twice, uses an alias, or contains a comment.
    """
    try:
        built = _build(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError("the value is not valid YAML") from None
    if built.problems:
        raise ValueError(built.problems[0].partition(": ")[2])
    if text[built.end :].strip():
        raise ValueError("a # after a space begins a comment; put the value in quotation marks")
    return built.values


def parse(text: str, name: str) -> tuple[dict[str, Any], dict[KeyPath, int], list[str]]:
    """Return the values of a YAML text, the line of each key path, and its problems as text.

    Raises:
        ConfigError: if the text is not YAML, or not a mapping.
    """
    try:
        built = _build(text)
    except (yaml.YAMLError, ValueError) as error:
        hint = "; indent with spaces, YAML forbids tabs" if "'\\t'" in str(error) else ""
        position = str(error).replace('  in "<unicode string>"', f"  in {name}")
        raise ConfigError(f"{name}: not valid YAML: {position}{hint}") from None
    except RecursionError:
        raise ConfigError(f"{name}: not valid YAML: nested too deeply") from None
    values = {} if built.end == 0 else built.values
    if not isinstance(values, dict):
        raise ConfigError(
            f"{name}: a configuration is a mapping of keys to values, but this is a {type(values).__name__}"
        )
    return values, built.lines, built.problems


class _Built(NamedTuple):
    """What a YAML text holds: its values, the line of each key path, its problems, and the characters up to its end."""

    values: Any
    lines: dict[KeyPath, int]
    problems: list[str]
    end: int


def _build(text: str) -> _Built:
    """Read a YAML text; one without values has None and the end 0."""
    lines: dict[KeyPath, int] = {}
    problems: list[str] = []
    seen: set[int] = set()
    loader = _Loader(text)

    def build(node: yaml.Node, path: KeyPath) -> Any:
        if id(node) in seen:
            problems.append(
                f"line {node.start_mark.line + 1}: {dotted(path)}: YAML aliases are not supported; write it out"
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
                        f"line {key_node.start_mark.line + 1}: {dotted((*path, key))}: this key is given twice"
                    )
                lines[(*path, key)] = key_node.start_mark.line + 1
                result[key] = build(value_node, (*path, key))
            return result
        if isinstance(node, yaml.SequenceNode):
            return [build(item, (*path, index)) for index, item in enumerate(node.value)]
        return loader.construct_object(node)

    root = loader.get_single_node()
    values, end = (None, 0) if root is None else (build(root, ()), root.end_mark.index)
    return _Built(values, lines, problems, end)


def dotted(path: KeyPath) -> str:
    """Return a key path in dotted form, such as ``model.attention.score``."""
    return ".".join(str(key) for key in path)
