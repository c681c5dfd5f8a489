"""Builds a tool of the Go world once, and prints the path of the binary.

Versions are pinned, because tests compare with their behaviour, and part of the path, so a new pin
builds anew. What is missing is said on stderr, with exit code 1: the tests skip with that message.
Needs Go, and the network for the first build only. Run by tests of kit and service, by benches and
by the Makefile; also by hand: ``go_tool.py ghz``. With ``--built`` it builds nothing: what takes
minutes is built when somebody asks for it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CACHE = Path(__file__).resolve().parents[3] / "bench" / ".cache" / "bin"


@dataclass(frozen=True)
class Tool:
    """A program of Go's. ``asked_by``: the command that builds it, for one that takes minutes.

    ``replaces``: its module replaces another's, which ``go install`` refuses, so it is built as the
    tool of a module made for it.
    """

    package: str
    version: str
    tags: str = ""
    replaces: bool = False
    asked_by: str = ""
    timeout: float = 540.0

    @property
    def program(self) -> str:
        """What Go calls the binary: the last part of the package that is not a major version."""
        parts = [part for part in self.package.split("/") if not re.fullmatch(r"v\d+", part)]
        return parts[-1]

    def commands(self, binary: Path) -> Sequence[tuple[str, ...]]:
        """What to tell Go, in an empty folder."""
        pinned = f"{self.package}@{self.version}"
        if not self.replaces:
            return (("install", "-tags", self.tags, pinned),)
        return (
            ("mod", "init", "tool"),
            ("get", "-tool", pinned),
            ("build", "-o", str(binary), self.package),
        )


_PROMETHEUS = "github.com/prometheus/prometheus/cmd"
# Without the clients of a dozen clouds, which take many times as long to build.
_NO_CLOUDS = "remove_all_sd"
TOOLS = {
    "golang-migrate": Tool(
        "github.com/golang-migrate/migrate/v4/cmd/migrate", "v4.20.1", tags="postgres"
    ),
    "grpcurl": Tool("github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.3"),
    "ghz": Tool("github.com/bojand/ghz/cmd/ghz", "v0.120.0"),
    "oapi-codegen": Tool("github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen", "v2.8.2"),
    # The newest that the module proxy has: later ones are tagged v2 and say so nowhere in their path.
    "h2spec": Tool("github.com/summerwind/h2spec/cmd/h2spec", "v2.2.1+incompatible"),
    "grpc-interop": Tool("google.golang.org/grpc/interop/client", "v1.85.0"),
    "connectconformance": Tool("connectrpc.com/conformance/cmd/connectconformance", "v1.0.7"),
    "kustomize": Tool(
        "sigs.k8s.io/kustomize/kustomize/v5", "v5.8.0", asked_by="make checks"
    ),
    "kubeconform": Tool(
        "github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0", asked_by="make checks"
    ),
    "actionlint": Tool("github.com/rhysd/actionlint/cmd/actionlint", "v1.7.12", asked_by="make checks"),
    "k6": Tool("go.k6.io/k6", "v1.8.1", asked_by="python kit/tests/tools/go_tool.py k6"),
    "promtool": Tool(
        f"{_PROMETHEUS}/promtool", "v0.316.0", tags=_NO_CLOUDS, asked_by="make dashboards"
    ),
    "prometheus": Tool(
        f"{_PROMETHEUS}/prometheus", "v0.316.0", tags=_NO_CLOUDS, asked_by="make dashboards"
    ),
    "jaeger": Tool(
        "github.com/jaegertracing/jaeger/cmd/jaeger", "v1.76.0",
        replaces=True, asked_by="make trace", timeout=3600.0,
    ),
}  # fmt: skip


def main(name: str, *, build: bool = True) -> int:
    """Print the binary's path, building it if need be."""
    tool = TOOLS[name]
    folder = _CACHE / f"{name}-{tool.version}"
    binary = folder / tool.program
    if not binary.exists():
        problem = (
            _build(tool, binary) if build else f"building it takes minutes: `{tool.asked_by}` does"
        )
        if problem:
            sys.stderr.write(f"no {name}: {problem}\n")
            return 1
    sys.stdout.write(f"{binary}\n")
    return 0


def _build(tool: Tool, binary: Path) -> str:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        return "Go is not installed"
    module = binary.parent / "module"
    shutil.rmtree(module, ignore_errors=True)
    module.mkdir(parents=True)
    for words in tool.commands(binary):
        try:
            done = subprocess.run(
                [go, *words],
                env={**os.environ, "GOBIN": str(binary.parent), "GOFLAGS": ""},
                cwd=module,
                capture_output=True,
                text=True,
                check=False,
                timeout=tool.timeout,
            )
        except subprocess.TimeoutExpired:
            return f"it did not build within {tool.timeout:g}s"
        if done.returncode:
            return done.stderr.strip()
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], build="--built" not in sys.argv))
