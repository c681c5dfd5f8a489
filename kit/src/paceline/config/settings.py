"""The class a service's one configuration class derives from.

Frozen, so it can be shared; unknown names are refused; the docstring below each field is its
help, in ``--help``, ``config`` and the house test. ``class Config(Settings, env_prefix="SHOP_")``
changes the prefix of the variables. Constructing one directly reads nothing but its arguments:
only ``load`` reads the outside world.
"""

from collections.abc import Collection
from typing import ClassVar, Self

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


class Settings(BaseSettings):
    """A frozen set of named, typed, documented values."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="APP_",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        # Defaults are written in Python and checked by the type checkers.
        validate_default=False,
        use_attribute_docstrings=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only: the layers are ``load``'s, which knows where each value came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    def replaced(self, **changes: object) -> Self:
        """These settings with some of them changed, checked as at the first time."""
        return type(self).model_validate({**dict(self), **changes})

    @classmethod
    def needed(cls, given: Collection[str]) -> Collection[str]:
        """Fields that must be given, in view of those that are: for a choice between several."""
        del given
        return ()

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field: ``port`` → ``APP_PORT``."""
        return f"{cls.model_config.get('env_prefix', '')}{field.upper()}"
