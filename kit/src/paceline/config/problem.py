"""What is wrong with a configuration: all of it at once, by variable, with what was expected.

Invariant: no text here holds a secret's value. Made by ``load``; the command line prints the
error on stderr and exits with 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from paceline.errors import Code, Error


class Layer(StrEnum):
    """The layers, the strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    DOTENV = "dotenv"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from; ``where`` is the flag, or the file and line when known."""

    layer: Layer
    where: str = ""

    def __str__(self) -> str:
        if self.layer is Layer.FLAG:
            return f"flag {self.where}"
        return self.where or self.layer.value


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the variable (or the file) it is in, what was expected, and from where."""

    variable: str
    message: str
    origin: Origin | None = None

    def __str__(self) -> str:
        source = f" (from {self.origin})" if self.origin else ""
        return f"{self.variable}: {self.message}{source}"


class ConfigError(Error):
    """The configuration cannot be used. Its text has one line for each problem."""

    kind: ClassVar[str] = "configuration"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(Code.FAILED_PRECONDITION, "\n".join(map(str, problems)))
        self.problems: tuple[Problem, ...] = tuple(problems)
