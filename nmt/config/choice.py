"""Choose a section by name, from those of this package and those that installed packages register.

An installed package registers a section with an entry point, for example::

    [project.entry-points."nmt.attention"]
    cosine = "my_package.settings:CosineConfig"

The names of entry points are known without importing a package. The package is imported only when a configuration
chooses its section.
"""

import importlib.metadata
from functools import cache
from typing import Any, cast

from pydantic import BeforeValidator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from nmt.config.section import Section, escape_surrogates, problem


class Choice:
    """The sections that one key of the configuration can choose from by name, such as the encoders."""

    def __init__(
        self,
        group: str | None,
        key: str,
        base: type[Section],
        builtin: dict[str, type[Section]],
        default: str,
        aliases: dict[str, str] | None = None,
    ):
        """Describe a choice.

        Args:
            group: the entry points' group, such as ``nmt.attention``; None if packages cannot register any.
            key: the key that holds the name, such as `score`.
            base: what every section must be a subclass of.
            builtin: the sections of this package, by name.
            default: the name that is used if none is given.
            aliases: other common names, mapped to the names used here; they are refused with a hint.
        """
        self.group, self.key, self.base, self.builtin, self.default = group, key, base, builtin, default
        self.aliases = aliases or {}

    def names(self) -> list[str]:
        """Return all names that can be chosen, without importing any package."""
        return [*self.builtin, *(name for name in self._registered() if name not in self.builtin)]

    def section(self, name: str) -> type[Section]:
        """Return the section called `name`; if an installed package registered it, import that package.

        Raises:
            PydanticCustomError: if there is no such name, or the package's section cannot be used.
        """
        if name in self.builtin:
            return self.builtin[name]
        entry_point = self._registered().get(name)
        if entry_point is None:
            context = {
                "name": escape_surrogates(name),
                "names": self.names(),
                "key": self.key,
                "alias": self.aliases.get(name, ""),
            }
            raise PydanticCustomError("unknown_choice", "'{name}' is not one of the names for {key}", context)
        package = f"{self.key} '{name}' of the package {_package(entry_point)}"
        try:
            section: Any = entry_point.load()
            is_usable = isinstance(section, type) and issubclass(section, self.base)
            if is_usable:
                section.model_rebuild()  # a section is built when it is first used, and its fields may be impossible
        except Exception as error:  # whatever a foreign package raises while it is imported or built
            raise problem(f"{package}: {error!r}") from None
        if not is_usable:
            raise problem(f"{package} is not a subclass of {self.base.__name__}")
        return cast(type[Section], section)

    def validate(self, value: Any) -> Any:
        """Return the section that a mapping, or a name alone, chooses.

        Raises:
            PydanticCustomError: with all errors of the section in its context.
        """
        if isinstance(value, Section):
            return value
        if isinstance(value, str):
            value = {self.key: value}
        if not isinstance(value, dict):
            raise problem(f"write a name, or a mapping such as {{{self.key}: {self.default}}}, not {value!r}")
        name = value.get(self.key, self.default)
        if not isinstance(name, str):
            raise problem(f"{self.key} is a name, one of {', '.join(self.names())}, not {name!r}")
        section = self.section(name)
        try:
            return section.model_validate({**value, self.key: name})
        except ValidationError as error:
            context = {"errors": error.errors(include_url=False), "section": section, "choice": self}
            raise PydanticCustomError("in_choice", "the section has errors", context) from None

    def _registered(self) -> dict[str, importlib.metadata.EntryPoint]:
        return {} if self.group is None else _entry_points(self.group)

    def validator(self) -> BeforeValidator:
        """Return the validator to annotate a field with."""
        return BeforeValidator(self.validate)


def choice_of(field: FieldInfo) -> Choice | None:
    """Return the choice that a field of a section is annotated with; None if there is none."""
    for validator in field.metadata:
        owner = getattr(validator.func, "__self__", None) if isinstance(validator, BeforeValidator) else None
        if isinstance(owner, Choice):
            return owner
    return None


@cache
def _entry_points(group: str) -> dict[str, importlib.metadata.EntryPoint]:
    return {entry_point.name: entry_point for entry_point in importlib.metadata.entry_points(group=group)}


def _package(entry_point: importlib.metadata.EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist is not None else entry_point.value
