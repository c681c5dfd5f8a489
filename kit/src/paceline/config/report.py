"""The effective configuration: each value, where it came from, what it is for.

Invariant: secrets are masked, and so is the password of any URL, whatever its type.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pydantic.fields import FieldInfo

from paceline.config.load import Loaded
from paceline.config.settings import Settings
from paceline.config.value_format import is_secret, value_format_of
from paceline.log import mask_urls, printable


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting; ``value``: as an operator would write it, None if there is none."""

    variable: str
    value: str | None
    origin: str
    help: str


def effective_settings(loaded: Loaded[Settings]) -> list[EffectiveSetting]:
    """Each setting, in the order of `Settings.groups`."""
    config = loaded.config
    fields = type(config).model_fields
    return [
        EffectiveSetting(
            variable=config.variable(name),
            value=_shown(config, name),
            origin=str(loaded.origins[name]),
            help=" ".join((fields[name].description or "").split()),
        )
        for group in config.groups()
        for name in group.fields
    ]


def settings_as_text(settings: Sequence[EffectiveSetting]) -> str:
    """Aligned columns: variable, value, origin. "-" where there is no value."""
    cells = [(each.variable, _cell(each.value), printable(each.origin)) for each in settings]
    widths = [max((len(cell[column]) for cell in cells), default=0) for column in (0, 1)]
    lines = (f"{name:{widths[0]}}  {value:{widths[1]}}  {origin}" for name, value, origin in cells)
    return "".join(f"{line}\n" for line in lines)


def settings_as_json(settings: Sequence[EffectiveSetting]) -> str:
    """A JSON list of objects with the four fields."""
    return json.dumps([asdict(each) for each in settings], indent=2) + "\n"


def _shown(config: Settings, name: str) -> str | None:
    return show_value(type(config).model_fields[name], getattr(config, name))


def show_value(field: FieldInfo, value: object) -> str | None:
    """The value of a field as an operator would write it; a secret is masked."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    value_format = None if is_secret(field) else value_format_of(field)
    return mask_urls(value_format.show(value) if value_format else str(value))


def _cell(value: str | None) -> str:
    if value is None:
        return "-"
    return value if value.isprintable() and value else printable(json.dumps(value))
