"""Typed configuration: one frozen class, five layers, every mistake reported at once.

flag > environment > ``.env`` > config file (TOML or YAML) > default. Invariants: every layer is
text in one grammar, so "15s" means the same everywhere; `load` remembers where each value came
from; a secret's value is in no error, no repr and no report. pydantic decides what is valid;
reading the layers is ours.
A service writes one `Settings` class and calls `load` in ``cli``; read ``settings``, then ``load``.
"""

from paceline.config.duration import format_duration, parse_duration
from paceline.config.load import Loaded, Needed, load
from paceline.config.problem import ConfigError, Layer, Origin, Problem
from paceline.config.report import EffectiveSetting, as_json, as_text, describe
from paceline.config.secret import Secret, SecretUrl, vetted
from paceline.config.settings import Settings
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
    numbers_for,
    readable_by,
)

__all__ = [
    "ByteSize",
    "ConfigError",
    "CsvList",
    "Duration",
    "EffectiveSetting",
    "Layer",
    "Loaded",
    "LogLevel",
    "Needed",
    "NetworkList",
    "NonNegativeInt",
    "Origin",
    "Port",
    "PositiveInt",
    "Problem",
    "Ratio",
    "Secret",
    "SecretUrl",
    "Settings",
    "as_json",
    "as_text",
    "describe",
    "format_duration",
    "format_size",
    "load",
    "numbers_for",
    "parse_duration",
    "parse_size",
    "readable_by",
    "vetted",
]
