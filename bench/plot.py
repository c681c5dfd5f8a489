"""The service bench as a picture: requests a second, and how they hold as connections grow.

Draws ``bench/results/service.json``, which ``service`` wrote, into ``service.svg`` beside it: on
top the cases at 64 connections, one bar a server; below, for the cases that were swept, requests
a second and p99 over the number of connections. Measures nothing. Run by ``make bench``.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cases import ALL_CONNECTIONS, CASES, MAIN_CONNECTIONS
from servers import PEERS

RESULTS = Path(__file__).parent / "results"
_COLOURS = ("#08519c", "#3182bd", "#9ecae1", "#2ca25f", "#fdae6b", "#e6550d", "#756bb1")
Point = dict[str, Any]


def draw(points: Sequence[Point], to: Path) -> None:
    """Draw the figures into an SVG file."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "paceline"  # the same figures give the same file
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of its backend

    swept = [case for case in CASES if len(case.connections) > 1]
    figure = plt.figure(figsize=(12, 11), layout="constrained")
    grid = figure.add_gridspec(3, len(swept))
    _bars(figure.add_subplot(grid[0, :]), points)
    for column, case in enumerate(swept):
        chosen = [point for point in points if point["case"] == case.name]
        for row, (what, title) in enumerate((("rate", "requests/s"), ("p99", "p99, ms")), start=1):
            axes = figure.add_subplot(grid[row, column])
            _lines(axes, chosen, what)
            axes.set_title(f"{case.title}: {title}", fontsize=9)
    figure.savefig(to, metadata={"Date": None})
    plt.close(figure)


def _bars(axes: Any, points: Sequence[Point]) -> None:
    rates = {
        (point["case"], point["server"]): point["rate"]
        for point in points
        if point["connections"] == MAIN_CONNECTIONS
    }
    width = 0.8 / len(PEERS)
    for number, (peer, colour) in enumerate(zip(PEERS, _COLOURS, strict=True)):
        places = [at for at, case in enumerate(CASES) if (case.name, peer.key) in rates]
        heights = [rates[CASES[at].name, peer.key] for at in places]
        where = [at + (number - len(PEERS) / 2) * width for at in places]
        axes.bar(where, heights, width, label=peer.title, color=colour)
    axes.set_xticks(range(len(CASES)), [case.title for case in CASES], fontsize=8)
    axes.set_title(f"requests/s at {MAIN_CONNECTIONS} connections (more is better)", fontsize=10)
    axes.legend(fontsize=8)


def _lines(axes: Any, points: Sequence[Point], what: str) -> None:
    for peer, colour in zip(PEERS, _COLOURS, strict=True):
        mine = sorted(
            (point["connections"], point[what]) for point in points if point["server"] == peer.key
        )
        if mine:
            axes.plot(*zip(*mine, strict=True), marker="o", label=peer.title, color=colour)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(ALL_CONNECTIONS, map(str, ALL_CONNECTIONS))
    axes.minorticks_off()
    axes.grid(visible=True, alpha=0.3)


if __name__ == "__main__":
    draw(json.loads((RESULTS / "service.json").read_text()), RESULTS / "service.svg")
