"""Where a bench leaves what it found: a page for people and the same figures for programs.

``bench/results/NAME.md`` and ``NAME.json``; README and docs/performance.md quote them by
``figures``. Both say on what machine and under which load they were measured.
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bars import Bar, bars_table

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """The machine and how busy it was before this moment; ask before a bench begins."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    model = names[0] if names else platform.machine()
    return (
        f"Machine: {os.cpu_count()} cores ({model}), load average {os.getloadavg()[0]:.2f} before,"
        f" Linux, Python {platform.python_version()}."
    )


def write(
    name: str, page: str, *, on: str, bars: Sequence[Bar] = (), figures: Mapping[str, object]
) -> None:
    """Write the page and the figures of the bench ``name``. ``on``: the `machine`."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(page)
    found = {
        "machine": on,
        "bars": [{**asdict(one), "state": one.state} for one in bars],
        **figures,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(found) + "\n")


def page(head: str, on: str, bars: Sequence[Bar], body: str) -> str:
    """A page: what was done and where, the bars, the tables."""
    judged = f"{bars_table(bars)}\n" if bars else ""
    return f"{head} {on}\n\n{judged}{body}"
