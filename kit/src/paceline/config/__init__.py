"""Typed configuration: one frozen class in several layers, every problem reported at once.

flag > environment > ``.env`` > config file (TOML or YAML) > fallback > default. Invariants: every
layer is text in one grammar, so "15s" means the same everywhere; `load` records where each value
came from; a secret's value is in no error, no repr and no report. pydantic validates; the layers
are read here.

    class Config(Settings):
        port: Port = 8080
        "TCP port to listen on."

    config = load(Config).config
"""

from paceline.config.duration import format_duration, parse_duration
from paceline.config.load import FindFallback, FindProblems, Loaded, Needed, load
from paceline.config.problem import ConfigError, Layer, Origin, SettingProblem
from paceline.config.report import (
    EffectiveSetting,
    effective_settings,
    settings_as_json,
    settings_as_text,
    show_value,
)
from paceline.config.secret import Secret, SecretUrl, checked_by, checked_url
from paceline.config.settings import SettingGroup, Settings
from paceline.config.size import format_size, parse_size
from paceline.config.types import (
    ByteSize,
    CsvList,
    Duration,
    LogLevel,
    NetworkList,
    NonNegativeInt,
    Port,
    PositiveInt,
    Ratio,
    numbers_by_name,
    parsed_by,
)
from paceline.config.value_format import ValueFormat, choices_of, metavar_of

__all__ = [
    "ByteSize",
    "ConfigError",
    "CsvList",
    "Duration",
    "EffectiveSetting",
    "FindFallback",
    "FindProblems",
    "Layer",
    "Loaded",
    "LogLevel",
    "Needed",
    "NetworkList",
    "NonNegativeInt",
    "Origin",
    "Port",
    "PositiveInt",
    "Ratio",
    "Secret",
    "SecretUrl",
    "SettingGroup",
    "SettingProblem",
    "Settings",
    "ValueFormat",
    "checked_by",
    "checked_url",
    "choices_of",
    "effective_settings",
    "format_duration",
    "format_size",
    "load",
    "metavar_of",
    "numbers_by_name",
    "parse_duration",
    "parse_size",
    "parsed_by",
    "settings_as_json",
    "settings_as_text",
    "show_value",
]
