"""Hold what is deployed and released against the checkers of others: ``make checks``.

Kustomize builds both overlays, and kubernetes-validate and kubeconform hold them against the
schemas of Kubernetes; hadolint reads the Dockerfile, actionlint and zizmor the workflows, towncrier
the changes to be told, pip-audit the locks. What is missing (a Go tool, the advisories' server) is
said and skipped; the exit code is 1 when something is wrong. The schemas are those in
kubernetes-validate's wheel, so nothing is fetched.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
TOOLS: Final = ROOT / ".venv-checks/bin"
DEPLOYMENTS: Final = ROOT / "service/deployments"
KUBERNETES: Final = "1.34.0"
OVERLAYS: Final = ("staging", "production")
# Of the Prometheus Operator: no schema of them is at hand.
_NOT_OF_KUBERNETES: Final = ("PodMonitor", "PrometheusRule")
_DEFINITIONS: Final = "_definitions.json"
_NOT_AUDITED: Final = "could not be audited"
_UNREACHABLE: Final = ("ConnectionError", "Max retries exceeded", "NewConnectionError", "HTTPError")


class Skipped(Exception):
    """Why something was not checked."""


def main() -> int:
    """Check all of it; a line for each."""
    failed = 0
    with tempfile.TemporaryDirectory() as made:
        for name, command in checks(Path(made)):
            try:
                done = run(name, command)
            except Skipped as reason:
                print(f"skipped  {name}: {reason}")  # noqa: T201 - a command's output
                continue
            failed += done.returncode != 0
            print(f"{'FAILED ' if done.returncode else 'ok     '}  {name}")  # noqa: T201 - as above
            if done.returncode:
                print(done.stdout + done.stderr)  # noqa: T201 - as above
    return min(failed, 1)


def run(name: str, command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Errors: `Skipped` when its program, or the server that it asks, cannot be had."""
    if not Path(command[0]).exists():
        raise Skipped(command[0])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own list
    if name.startswith("pip-audit"):
        if done.returncode and any(word in done.stderr for word in _UNREACHABLE):
            raise Skipped("the server of the advisories cannot be reached")
        if not done.returncode and (unknown := done.stdout.count(_NOT_AUDITED)):
            raise Skipped(f"{unknown} packages have no advisories there, which is not PyPI")
    return done


def checks(made: Path) -> Iterator[tuple[str, list[str]]]:
    """Names and commands."""
    schemas = standalone_schemas(made / "schemas")
    kustomize, kubeconform = go_tool("kustomize"), go_tool("kubeconform")
    for overlay in OVERLAYS:
        built = made / f"{overlay}.yaml"
        folder = DEPLOYMENTS / "kubernetes/overlays" / overlay
        yield f"kustomize build {overlay}", [kustomize, "build", str(folder), "-o", str(built)]
        if not built.exists():
            continue
        yield (
            f"kubernetes-validate {overlay} ({KUBERNETES}, strict)",
            [str(TOOLS / "kubernetes-validate"), "--strict", "--quiet", "--no-warn",
             "-k", KUBERNETES, str(built)],
        )  # fmt: skip
        yield (
            f"kubeconform {overlay} ({KUBERNETES}, strict)",
            [kubeconform, "-strict", "-summary", "-kubernetes-version", KUBERNETES,
             "-schema-location", f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
             "-skip", ",".join(_NOT_OF_KUBERNETES), str(built)],
        )  # fmt: skip
    yield (
        "compose.yaml (its specification's schema)",
        [str(TOOLS / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec",
         str(DEPLOYMENTS / "compose.yaml")],
    )  # fmt: skip
    yield "hadolint", [str(TOOLS / "hadolint"), str(DEPLOYMENTS / "Dockerfile")]
    workflows = sorted(ROOT.glob("**/.github/workflows/*.yml"))
    yield "actionlint", [go_tool("actionlint"), *map(str, workflows)]
    yield "zizmor", [str(TOOLS / "zizmor"), "--offline", "--quiet", *map(str, workflows)]
    yield (
        "towncrier (changelog.d)",
        [str(TOOLS / "towncrier"), "build", "--draft", "--version", "next"],
    )
    for lock in ("requirements/run.txt", "requirements/dev.txt", "service/requirements/run.txt"):
        yield (
            f"pip-audit {lock}",
            [str(TOOLS / "pip-audit"), "--require-hashes", "--disable-pip", "-r", lock,
             "--progress-spinner=off", "--timeout=5"],
        )  # fmt: skip


def standalone_schemas(folder: Path) -> Path:
    """Those of kubernetes-validate, each with all definitions: kubeconform follows no path."""
    found = sorted(ROOT.glob(f".venv-checks/lib/*/site-packages/**/v{KUBERNETES}-local-strict"))
    folder.mkdir()
    if found:
        definitions = (found[0] / _DEFINITIONS).read_text().replace(_DEFINITIONS, "")
        for path in found[0].glob("*-v[12].json"):
            schema = json.loads(path.read_text().replace(_DEFINITIONS, ""))
            schema |= json.loads(definitions)
            (folder / path.name).write_text(json.dumps(schema))
    return folder


def go_tool(name: str) -> str:
    """The path of the binary; what is wrong when there is none, which is no path."""
    done = subprocess.run(  # noqa: S603 - our own tool
        [sys.executable, ROOT / "kit/tests/tools/go_tool.py", name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or done.stderr.strip()


if __name__ == "__main__":
    sys.exit(main())
