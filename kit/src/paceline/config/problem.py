"""What is wrong with a configuration: all problems at once, by variable, with what was expected.

Invariant: no text here holds a secret's value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from paceline.errors import Code, Error


class Layer(StrEnum):
    """The layers, in order of precedence, the first one wins."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    DOTENV = "dotenv"
    FILE = "file"
    FALLBACK = "fallback"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from; ``where``: the flag, or the file and the line if known."""

    layer: Layer
    where: str = ""

    def __str__(self) -> str:
        if self.layer is Layer.FLAG:
            return f"flag {self.where}"
        return self.where or self.layer.value


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One problem: the variable or the file, what was expected, and where the value came from."""

    variable: str
    message: str
    origin: Origin | None = None

    def __str__(self) -> str:
        source = f" (from {self.origin})" if self.origin else ""
        return f"{self.variable}: {self.message}{source}"


class ConfigError(Error):
    """The configuration is not valid. Its text has one line for each problem."""

    kind: ClassVar[str] = "configuration"

    def __init__(self, problems: Sequence[SettingProblem]) -> None:
        super().__init__(Code.FAILED_PRECONDITION, "\n".join(map(str, problems)))
        self.problems: tuple[SettingProblem, ...] = tuple(problems)
