"""The class a service's one configuration class derives from.

Frozen, so it can be shared; unknown names are refused; the docstring below each field is its
help, in ``--help``, ``config`` and the house test. ``class Config(Settings, env_prefix="SHOP_")``
changes the prefix of the variables. Constructing one reads nothing but its arguments: only
``load`` reads the outside world. Rejected: pydantic-settings, whose sources do that too and forget
where a value came from; without them it is an expensive name for ``BaseModel``.
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
        """Take ``env_prefix`` for this class and those derived from it."""
        super().__init_subclass__(**config)
        if env_prefix is not None:
            cls._prefix = env_prefix

    def replaced(self, **changes: object) -> Self:
        """These settings with some of them changed, checked as at the first time."""
        return type(self).model_validate({**dict(self), **changes})

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field: ``port`` → ``APP_PORT``."""
        return f"{cls._prefix}{field.upper()}"
