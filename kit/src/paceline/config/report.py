"""The effective configuration, for ``config``: each value, where it came from, what it is for.

Invariant: secrets are masked, and so is the password of any URL, whatever its type. The
renderings return text; printing is the command line's.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from paceline.config.load import Loaded
from paceline.config.secret import mask_url
from paceline.config.settings import Settings
from paceline.config.value_format import form_of, is_secret


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting; ``value`` is as an operator would write it, None when there is none."""

    variable: str
    value: str | None
    origin: str
    help: str


def describe(loaded: Loaded[Settings]) -> list[EffectiveSetting]:
    """One row for each setting, in the order of the class."""
    config = loaded.config
    return [
        EffectiveSetting(
            variable=config.variable(name),
            value=_shown(config, name),
            origin=str(loaded.origins[name]),
            help=" ".join((field.description or "").split()),
        )
        for name, field in type(config).model_fields.items()
    ]


def as_text(rows: Sequence[EffectiveSetting]) -> str:
    """Aligned columns: variable, value, origin. "-" where there is no value."""
    cells = [(row.variable, _cell(row.value), row.origin) for row in rows]
    widths = [max((len(cell[column]) for cell in cells), default=0) for column in (0, 1)]
    lines = (f"{name:{widths[0]}}  {value:{widths[1]}}  {origin}" for name, value, origin in cells)
    return "".join(f"{line}\n" for line in lines)


def as_json(rows: Sequence[EffectiveSetting]) -> str:
    """A JSON list of objects with the rows' four fields."""
    return json.dumps([asdict(row) for row in rows], indent=2) + "\n"


def _shown(config: Settings, name: str) -> str | None:
    value: object = getattr(config, name)
    field = type(config).model_fields[name]
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    form = None if is_secret(field) else form_of(field)
    return mask_url(form.show(value) if form else str(value))


def _cell(value: str | None) -> str:
    if value is None:
        return "-"
    return value if value.isprintable() and value else json.dumps(value)
