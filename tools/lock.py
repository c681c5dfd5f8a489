"""Lock every dependency by version and hash: what the kit and the service declare, and our tools.

requirements/*.txt are made of ``kit/pyproject.toml`` (run and docs: with the extras that the
service asks for; dev and bench: with all) and of requirements/*.in, which has only what no
distribution needs to run. No registry's address goes into a lock. bench.txt is made first and
constrains the others, the service's own in service/requirements too, so all hold the same version
of what they share.
checks.txt stands alone: its tools are programs, never imported.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
OPTIONS = [
    "--universal", "--python-version=3.11", "--generate-hashes",
    "--no-header", "--no-emit-index-url", "--quiet",
]  # fmt: skip


def main() -> None:
    """Write the locks. Arguments go to uv: ``--upgrade`` for the newest allowed versions."""
    of_service = extras_of_service()
    extras = {
        "bench": ["all", "testing"], "dev": ["all", "testing"], "run": of_service,
        "docs": of_service,
    }  # fmt: skip
    for name, chosen in extras.items():
        constraint = [] if name == "bench" else ["--constraint=requirements/bench.txt"]
        lock = f"--output-file=requirements/{name}.txt"
        sources = ["kit/pyproject.toml", f"requirements/{name}.in"]
        command = [
            ROOT / ".venv/bin/uv", "pip", "compile", *OPTIONS, *sys.argv[1:], *constraint, lock,
            *(f"--extra={extra}" for extra in chosen), *sources,
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - our own tool, our own files
    lock_checks()
    lock_service()


def lock_checks() -> None:
    """Tools that check what is published, which have an environment of their own."""
    subprocess.run(  # noqa: S603 - our own tool, our own files
        [
            ROOT / ".venv/bin/uv", "pip", "compile", *OPTIONS, *sys.argv[1:],
            "--output-file=requirements/checks.txt", "requirements/checks.in",
        ],
        cwd=ROOT,
        check=True,
    )  # fmt: skip


def lock_service() -> None:
    """The locks that the service has when it stands alone, by its own tool."""
    with tempfile.TemporaryDirectory() as wheels:
        commands = [
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels],
            [
                sys.executable, "tools/lock.py", f"--wheels={wheels}",
                "--constraint=../requirements/bench.txt", *sys.argv[1:],
            ],
        ]  # fmt: skip
        for folder, command in zip(("kit", "service"), commands, strict=True):
            subprocess.run(command, cwd=ROOT / folder, check=True)  # noqa: S603 - as above


def extras_of_service() -> list[str]:
    """The kit's extras that the service depends on, and those of what `run` starts."""
    project = tomllib.loads((ROOT / "service/pyproject.toml").read_text())["project"]
    more = (ROOT / "service/requirements/run.in").read_text()
    asked: list[str] = re.findall(r"paceline\[([^]]*)\]", " ".join(project["dependencies"]) + more)
    return ",".join(asked).split(",")


if __name__ == "__main__":
    main()
