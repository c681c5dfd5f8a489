"""The benches as pictures: how rates hold as connections grow, and what an overload does.

Draws ``bench/results/service.json``, which ``service`` wrote, into ``service.svg`` beside it: on
top the cases at 64 connections, one bar a server; below, for the cases that were swept, requests
a second and p99 over the number of connections. With ``overload`` as its argument it draws what
``overload`` wrote, second by second. ``--quick`` draws both and keeps neither. Measures nothing.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
from cases import ALL_CONNECTIONS, CASES, MAIN_CONNECTIONS
from open_load import BIN
from servers import PEERS

RESULTS = Path(__file__).parent / "results"
_COLOURS = (
    "#08519c", "#3182bd", "#9ecae1", "#2ca25f", "#006d2c", "#a50f15", "#fdae6b", "#e6550d",
    "#756bb1",
)  # fmt: skip
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


def draw_overload(runs: Sequence[Point], to: Path) -> None:
    """Draw one row for each server: what was asked and answered, and how long that took."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "paceline"
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of its backend

    figure, rows = plt.subplots(
        len(runs),
        2,
        figsize=(12, 2.6 * len(runs)),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for run, (rates, latencies) in zip(runs, rows, strict=True):
        seconds = [number * BIN for number in range(len(run["bins"]))]

        def rate(name: str, run: Point = run) -> list[float]:
            return [one[name] / BIN / run["peak"] for one in run["bins"]]

        rates.plot(seconds, rate("offered"), color="#bdbdbd", label="asked for")
        rates.plot(seconds, rate("refused"), color="#fdae6b", label="refused")
        rates.plot(seconds, rate("given_up"), color="#e6550d", label="given up by the client")
        rates.fill_between(seconds, rate("good"), color="#3182bd", label="answered")
        rates.set_title(f"{run['title']}: requests over its peak, {run['peak']:,.0f}/s", fontsize=9)
        answered = [
            (at, one["p99"]) for at, one in zip(seconds, run["bins"], strict=True) if one["good"]
        ]
        latencies.plot(*zip(*answered, strict=True), ".", color="#3182bd", markersize=3)
        latencies.axhline(3 * run["phases"][0]["p99"], color="#31a354", linewidth=0.8)
        latencies.set_yscale("log")
        latencies.set_ylim(1, 2000)
        latencies.set_title("p99 of answers, ms; the line is 3 times the normal one", fontsize=9)
        for axes in (rates, latencies):
            axes.grid(visible=True, alpha=0.3)
    rows[0][0].legend(fontsize=7)
    for axes in rows[-1]:
        axes.set_xlabel("seconds")
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


def figures(name: str) -> list[Point]:
    """What a bench wrote."""
    found: dict[str, list[Point]] = json.loads((RESULTS / f"{name}.json").read_text())
    return found[{"service": "points", "overload": "runs"}[name]]


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "service"
    drawings = {"service": draw, "overload": draw_overload}
    if name == "--quick":
        with TemporaryDirectory() as folder:
            for each, drawing in drawings.items():
                drawing(figures(each), Path(folder) / f"{each}.svg")
    else:
        drawings[name](figures(name), RESULTS / f"{name}.svg")
