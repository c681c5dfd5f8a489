"""Every bench whose figures are published, one after the other on an otherwise quiet machine.

Says the load of the machine before each, goes on after one that misses a bar, and ends with the
list of those that did and an exit code that is not zero. Then README and docs/performance.md are
written anew. ``make bench-all`` runs it; names of benches as arguments run those alone; ``--quick``
only lists them.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
BENCHES = ("service", "rpc_layer", "updates", "telemetry", "overload", "orders", "startup",
           "http_layer")  # fmt: skip
_DRAWN = {"service": "service", "overload": "overload"}
_SETTLE = 20.0  # seconds: what the one before has left to be done


def run(script: str, *arguments: str) -> int:
    """Its exit code."""
    return subprocess.run(
        [sys.executable, HERE / f"{script}.py", *arguments], check=False
    ).returncode


def main(names: list[str]) -> None:
    """Run them."""
    failed: list[str] = []
    for number, name in enumerate(names):
        if number:
            time.sleep(_SETTLE)
        load = " ".join(f"{each:.2f}" for each in os.getloadavg())
        sys.stderr.write(f"== {name}: load average before {load}\n")
        if run(name):
            failed.append(name)
        if name in _DRAWN:
            run("plot", _DRAWN[name])
    run("figures")
    if failed:
        raise SystemExit(f"missed a bar, or failed: {', '.join(failed)}")


if __name__ == "__main__":
    if "--quick" in sys.argv:
        print("\n".join(BENCHES))
    else:
        main(sys.argv[1:] or [*BENCHES])
