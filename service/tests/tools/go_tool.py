"""Builds a tool of the Go world once, and prints the path of the binary.

Versions are pinned and part of the path, so a new pin builds anew. What is missing is said on
stderr, with exit code 1: the tests skip with that message. Needs Go, and the network for the first
build only. Run by ``e2e/test_grpc_tools.py``, ``e2e/test_prometheus.py`` and ``bench/grpc_layer.py``;
also by hand: ``go_tool.py ghz``. With ``--built`` it builds nothing: what takes minutes is built when
somebody asks for it (`make dashboards`).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TOOLS = {
    "grpcurl": ("github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.3"),
    "ghz": ("github.com/bojand/ghz/cmd/ghz", "v0.120.0"),
    "promtool": ("github.com/prometheus/prometheus/cmd/promtool", "v0.316.0"),
    "prometheus": ("github.com/prometheus/prometheus/cmd/prometheus", "v0.316.0"),
}
# Prometheus without the clients of a dozen clouds, which take many times as long to build.
TAGS = {"promtool": "remove_all_sd", "prometheus": "remove_all_sd"}
_CACHE = Path(__file__).resolve().parents[3] / "bench" / ".cache" / "bin"
_BUILD_TIMEOUT = 540.0


def main(name: str, *, build: bool = True) -> int:
    """Print the binary's path, building it if need be."""
    package, version = TOOLS[name]
    folder = _CACHE / f"{name}-{version}"
    binary = folder / name
    if not binary.exists():
        if not build:
            sys.stderr.write(f"{name} is not built: `make dashboards` does it, in some minutes\n")
            return 1
        problem = _build(f"{package}@{version}", folder, TAGS.get(name, ""))
        if problem:
            sys.stderr.write(f"no {name}: {problem}\n")
            return 1
    sys.stdout.write(f"{binary}\n")
    return 0


def _build(package: str, folder: Path, tags: str) -> str:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        return "Go is not installed"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            [go, "install", "-tags", tags, package],
            env={**os.environ, "GOBIN": str(folder), "GOFLAGS": ""},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"it did not build within {_BUILD_TIMEOUT:g}s"
    return done.stderr.strip() if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], build="--built" not in sys.argv))
