"""Every setting is documented, as it is."""

from pathlib import Path

import pytest

from myservice.config import Config
from paceline.config import EffectiveSetting, effective_settings, load

SETTINGS = (Path(__file__).parents[2] / "docs/settings.md").read_text()


@pytest.mark.parametrize(
    "row", effective_settings(load(Config, env={})), ids=lambda row: row.variable
)
def test_a_setting_is_documented_with_its_default_and_its_help(row: EffectiveSetting) -> None:
    default = f"`{row.value}`" if row.value else "–"
    assert f"| `{row.variable}` | {default} | {row.help} |" in SETTINGS
    assert row.help.endswith("."), "help is a sentence"


def test_no_setting_is_documented_that_is_not_there() -> None:
    assert SETTINGS.count("| `APP_") == len(Config.model_fields)
