"""Virtual environments of wheels that were just built, for the tests of packaging.

Installs take the locked versions from the index that pip is configured for. An environment is cheap:
uv links what is in its cache, and each environment is made anew in the same folder, so the modules
of those before it are compiled already.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "requirements/dev.txt"
UV = Path(sys.executable).with_name("uv")
# pip's settings of an index, and uv's names for them.
SETTINGS = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "cert": "SSL_CERT_FILE"}
UNREACHABLE = re.compile(r"error sending request|dns error", re.IGNORECASE)

# The rooms that need an extra. The others import with the base.
ROOMS = {
    "paceline.auth": "auth",
    "paceline.commands.top": "console",
    "paceline.grpc": "grpc",
    "paceline.grpc.interceptors": "grpc",
    "paceline.messaging.kafka": "kafka",
    "paceline.messaging.nats": "nats",
    "paceline.postgres": "postgres",
    "paceline.postgres.inbox": "postgres",
    "paceline.postgres.migrate": "postgres",
    "paceline.postgres.outbox": "postgres",
    "paceline.redis": "redis",
    "paceline.testing": "testing",
}


def build_wheels(folder: Path) -> dict[str, Path]:
    """Both distributions, built into ``folder``, by name."""
    for project in ("kit", "service"):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
            cwd=ROOT / project, check=True, capture_output=True,
        )  # fmt: skip
    return {path.name.partition("-")[0]: path for path in folder.iterdir()}


@dataclass(frozen=True)
class Environment:
    """Where virtual environments are made, one after the other."""

    folder: Path
    variables: dict[str, str]

    def install(self, *requirements: str) -> None:
        """An empty environment, then ``requirements`` in the locked versions."""
        self._uv("venv", "--clear", "--python", sys.executable, "venv")
        self._uv("pip", "install", "--python", "venv", "--constraint", str(LOCK), *requirements)

    def _uv(self, *arguments: str) -> None:
        run = subprocess.run(
            [UV, "--quiet", *arguments], env=self.variables, cwd=self.folder,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if run.returncode and UNREACHABLE.search(run.stderr):
            pytest.skip(f"no package index can be reached: {run.stderr.strip()[-300:]}")
        assert run.returncode == 0, run.stderr

    def python(self, script: Path) -> str:
        """What ``script`` prints there."""
        compiled = f"pycache_prefix={self.folder / 'compiled'}"
        run = subprocess.run(
            ["venv/bin/python", "-I", "-X", compiled, script], cwd=self.folder,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        return run.stdout


def index_of_pip() -> dict[str, str]:
    """The index of pip's files and variables, in uv's."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found: list[tuple[str, str]] = re.findall(r"^[^.]*\.([a-z-]+)='(.*)'$", listed, re.MULTILINE)
    return {SETTINGS[key]: value for key, value in found if key in SETTINGS}
