"""What a bench must reach: one table of bars, and an exit code that is not zero when one is missed.

A bar that could not be measured, since a peer is not on this machine, is named in the table and
not held against anybody. The quick form of a bench measures too little to judge, and does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """``got`` must be at least ``wanted``, or at most with ``most``; None: not measured."""

    name: str
    wanted: float
    got: float | None
    unit: str = ""
    most: bool = False

    @property
    def missed(self) -> bool:
        """Whether it was measured and is not held."""
        if self.got is None:
            return False
        return self.got > self.wanted if self.most else self.got < self.wanted

    @property
    def state(self) -> str:
        """In a word."""
        if self.got is None:
            return "not measured"
        return "MISSED" if self.missed else "holds"

    @property
    def limit(self) -> str:
        """Such as ``≥ 2 MB``."""
        return f"{'≤' if self.most else '≥'} {self.wanted:,g}{self._unit}"

    @property
    def measured(self) -> str:
        """Such as ``2.31 MB``."""
        if self.got is None:
            return "–"
        digits = 2 if abs(self.got) < 100 else 0  # noqa: PLR2004 - large numbers need no decimals
        return f"{self.got:,.{digits}f}{self._unit}"

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


def bars_table(bars: Sequence[Bar]) -> str:
    """The bars as Markdown."""
    lines = ["| bar | wanted | measured | |", "|---|---:|---:|---|"]
    lines += [f"| {one.name} | {one.limit} | {one.measured} | {one.state} |" for one in bars]
    return "\n".join(lines) + "\n"


def judge(bars: Sequence[Bar]) -> None:
    """Errors: SystemExit with the bars that are missed."""
    if missed := [one for one in bars if one.missed]:
        raise SystemExit(
            "\n".join(f"MISSED {one.name}: {one.measured}, wanted {one.limit}" for one in missed)
        )
