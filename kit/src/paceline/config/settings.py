"""The base class of a service's configuration class.

Frozen, so it can be shared; unknown names are refused; the docstring below each field is its help
text. ``class Config(Settings, env_prefix="SHOP_")`` changes the prefix of the variables.
Constructing one reads nothing but its arguments; only `load` reads files and the environment.
Rejected: pydantic-settings, whose sources read while constructing and do not record where a value
came from.
"""

from typing import ClassVar, Self, Unpack

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen set of named, typed, documented values."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
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
    def variable(cls, field: str) -> str:
        """The environment variable of a field: ``port`` → ``APP_PORT``."""
        return f"{cls._prefix}{field.upper()}"
