"""The base class of a service's configuration class.

Frozen, so it can be shared; unknown names are refused; the docstring below each field is its help
text. ``class Config(Settings, env_prefix="SHOP_")`` changes the prefix of the variables.
Constructing one reads nothing but its arguments; only `load` reads files and the environment.
Rejected: pydantic-settings, whose sources read while constructing and do not record where a value
came from.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self, Unpack

from pydantic import BaseModel, ConfigDict

_HEADING: Final = re.compile(r"(?:The )?(\w[^:.;,\n]*)")


@dataclass(frozen=True, slots=True)
class SettingGroup:
    """Settings that belong together. ``own``: those of the class that was asked, not of a base.

    ``heading``: the beginning of its class's docstring, "HTTP server" of "The HTTP server.".
    """

    heading: str
    own: bool
    fields: tuple[str, ...]


class Settings(BaseModel):
    """A frozen set of named, typed, documented values."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        defer_build=True,  # of many classes that are joined only the last one is constructed
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )
    _prefix: ClassVar[str] = "APP_"

    def __init_subclass__(
        cls, *, env_prefix: str | None = None, **config: Unpack[ConfigDict]
    ) -> None:
        """Use ``env_prefix`` for this class and its subclasses."""
        super().__init_subclass__(**config)
        if env_prefix is not None:
            cls._prefix = env_prefix

    def replaced(self, **changes: object) -> Self:
        """A copy with some settings changed, validated again."""
        return type(self).model_validate({**dict(self), **changes})

    @classmethod
    def groups(cls) -> "Sequence[SettingGroup]":
        """The fields by the class that introduced them: its own first, then those it joins."""
        found: dict[type[Settings], list[str]] = {
            base: [] for base in cls.__mro__ if issubclass(base, Settings)
        }
        for name in cls.model_fields:
            found[[base for base in found if name in base.model_fields][-1]].append(name)
        return [
            SettingGroup(_heading_of(base), base is cls, tuple(fields))
            for base, fields in found.items()
            if fields
        ]

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field: ``port`` → ``APP_PORT``."""
        return f"{cls._prefix}{field.upper()}"


def _heading_of(settings: type[Settings]) -> str:
    found = _HEADING.match((settings.__doc__ or "").strip())
    text = found[1].strip() if found else settings.__name__
    return text[:1].upper() + text[1:] if text[1:2].islower() else text
