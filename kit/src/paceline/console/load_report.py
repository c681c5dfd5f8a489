"""What a load found out: for people, for programs, and on one line while it runs.

The whole picture on one screen: rate, latencies with the worst, what was answered, what was not,
and the shape of the distribution, which no percentile shows. Numbers in JSON are plain: seconds and
counts. Made by ``bench`` from the `Tally` of ``load``.
"""

from collections.abc import Iterator
from math import exp, log
from typing import Final

import msgspec

from paceline.console.draw import bar, duration, number, size, sparkline
from paceline.console.histogram import Histogram
from paceline.console.load import Plan, Tally

_QUANTILES: Final = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
_ROWS: Final = 12
_BAR: Final = 44
_LINE: Final = 60


def as_line(tally: Tally) -> str:
    """How it stands, for a line that is written over."""
    latencies = tally.latencies
    now = tally.seconds[-1] if tally.seconds else round(tally.rate)
    return (
        f"{tally.elapsed:5.1f} s  {latencies.count:,} answers  {now:,}/s  "
        f"p50 {duration(latencies.quantile(0.5))}  p99 {duration(latencies.quantile(0.99))}"
        f"  failed {tally.failed:,}"
    )


def as_text(plan: Plan, tally: Tally) -> str:
    """The whole report."""
    parts = [_summary(plan, tally), _latencies(tally.latencies), _answers(tally)]
    if tally.latencies.count:
        parts += [_shape(tally.latencies)]
    if len(tally.seconds) > 1:
        most = max(tally.seconds)
        drawn = sparkline([float(count) for count in tally.seconds], _LINE)
        parts.append(f"Answers a second, up to {most:,}\n  {drawn}")
    return "\n\n".join(parts) + "\n"


def as_json(plan: Plan, tally: Tally) -> str:
    """One JSON object; times in seconds."""
    latencies = tally.latencies
    found: dict[str, object] = {
        "url": plan.target.url,
        "method": plan.target.method,
        "connections": plan.connections,
        "wanted_rate": plan.rate,
        "interrupted": tally.interrupted,
        "seconds": tally.elapsed,
        "answers": latencies.count,
        "rate": tally.rate,
        "failed": tally.failed,
        "unsent": tally.unsent,
        "bytes": tally.received,
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "errors": dict(tally.errors),
        "latency": {
            "min": latencies.shortest,
            "mean": latencies.mean,
            **{f"p{share * 100:g}": latencies.quantile(share) for share in _QUANTILES},
            "max": latencies.longest,
        },
        "answers_each_second": list(tally.seconds),
    }
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def _summary(plan: Plan, tally: Tally) -> str:
    kind = f"{number(plan.rate)} a second wanted" if plan.rate else "as many as it takes"
    ended = ", interrupted" if tally.interrupted else ""
    count, received = tally.latencies.count, size(tally.received)
    lines = [
        f"{plan.target.method} {plan.target.url}",
        f"  {plan.connections} connections, {kind}, {duration(tally.elapsed)}{ended}",
        "",
        f"  {count:,} answers, {number(tally.rate)}/s, {received} received",
    ]
    if plan.rate and tally.unsent:
        lines.append(
            f"  {tally.unsent:,} were due and never sent: this rate needs a faster server "
            "or more --connections"
        )
    return "\n".join(lines)


def _latencies(found: Histogram) -> str:
    names = ["min", "mean", *(f"p{share * 100:g}" for share in _QUANTILES), "max"]
    values = [
        found.shortest,
        found.mean,
        *(found.quantile(share) for share in _QUANTILES),
        found.longest,
    ]
    cells = [duration(value) for value in values]
    widths = [max(len(name), len(cell)) for name, cell in zip(names, cells, strict=True)]
    rows = [
        "  ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True))
        for row in (names, cells)
    ]
    return "Latency\n  " + "\n  ".join(rows)


def _answers(tally: Tally) -> str:
    rows = [(str(status), count) for status, count in sorted(tally.statuses.items())]
    rows += tally.errors.most_common()
    if not rows:
        return "Nothing was answered."
    width = max(len(f"{count:,}") for _, count in rows)
    return "\n".join(["Answers", *(f"  {count:>{width},}  {name}" for name, count in rows)])


def _shape(found: Histogram) -> str:
    """Bars over steps of equal ratio, so that a long tail is seen beside the bulk."""
    rows = list(_steps(found))
    most = max(count for _, count in rows)
    width = max(len(duration(until)) for until, _ in rows)
    lines = [
        f"  {duration(until):>{width}}  {bar(count, most, _BAR):{_BAR}}  {count:,}".rstrip()
        for until, count in rows
    ]
    return "\n".join(["Distribution (up to)", *lines])


def _steps(found: Histogram) -> Iterator[tuple[float, int]]:
    low, high = max(found.shortest, 1e-6), max(found.longest, 2e-6)
    ratio = max(log(high / low) / _ROWS, 1e-3)
    edges = [low * exp(ratio * row) for row in range(1, _ROWS)] + [high]
    counts = [0] * _ROWS
    for until, count in found.spread():
        counts[min(int(log(max(until, low) / low) / ratio), _ROWS - 1)] += count
    yield from zip(edges, counts, strict=True)
