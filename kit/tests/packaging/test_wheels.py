"""The wheels as a user gets them: installed into empty environments, one extra at a time.

Installs take the locked versions from the index that pip is configured for. An environment is cheap:
uv links what is in its cache, and each environment is made anew in the same folder, so the modules
of those before it are compiled already.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROBE = Path(__file__).with_name("probe.py")
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
    "paceline.postgres.outbox": "postgres",
    "paceline.redis": "redis",
    "paceline.testing": "testing",
}
# What an extra brings besides: the exporter of traces is built on grpcio.
ALSO = {"otel": {"paceline.grpc.interceptors"}}
# A room of the base with single names that need extras.
NAMES = {
    ("paceline.commands.doctor", "check_nats"): "nats",
    ("paceline.commands.doctor", "check_postgres"): "postgres",
    ("paceline.commands.doctor", "check_redis"): "redis",
    ("paceline.commands.doctor", "judge_schema"): "postgres",
}
ALL = {"auth", "console", "engines", "grpc", "kafka", "nats", "otel", "postgres", "redis"}
BRINGS = {"all": ALL, "testing": {"testing", "engines", "postgres"}}
ADVICE = re.compile(r"[a-z.]+ needs \w+, which is not installed: pip install 'paceline\[(\w+)\]'")
# What no room may load before one of its names is used.
LATE = {
    "aiokafka", "asyncpg", "google", "grpc", "hiredis", "joserfc", "nats", "opentelemetry",
    "pytest", "redis", "textual", "uvicorn", "uvloop",
}  # fmt: skip

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Imported:
    """What `PROBE` found: by room, the error of each name ("" is the room itself), the libraries."""

    errors: dict[str, dict[str, str]]
    loaded: dict[str, list[str]]

    def missing(self) -> set[tuple[str, str, str]]:
        """Room, name and the extra that the error names."""
        found: set[tuple[str, str, str]] = set()
        for room, names in self.errors.items():
            for name, error in names.items():
                if error:
                    advice = ADVICE.fullmatch(error)
                    assert advice, error
                    found.add((room, name, advice[1]))
        return found


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both distributions, built."""
    folder = tmp_path_factory.mktemp("wheels")
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
    index: dict[str, str]

    def install(self, *requirements: str) -> None:
        """An empty environment, then ``requirements`` in the locked versions."""
        self._uv("venv", "--clear", "--python", sys.executable, "venv")
        self._uv("pip", "install", "--python", "venv", "--constraint", str(LOCK), *requirements)

    def _uv(self, *arguments: str) -> None:
        run = subprocess.run(
            [UV, "--quiet", *arguments], env=self.index, cwd=self.folder,
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


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The index is that of pip's files and variables, in uv's words."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found: list[tuple[str, str]] = re.findall(r"^[^.]*\.([a-z-]+)='(.*)'$", listed, re.MULTILINE)
    index = {SETTINGS[key]: value for key, value in found if key in SETTINGS}
    return Environment(tmp_path_factory.mktemp("environment"), index | dict(os.environ))


KAFKA = pytest.param(
    "kafka", marks=pytest.mark.xfail(reason="its errors are those of the NATS room")
)


@pytest.mark.parametrize("extra", ["base", *sorted(ALL - {"kafka"}), KAFKA, "testing", "all"])
def test_a_room_imports_with_its_extra_and_names_it_without(
    extra: str, wheels: dict[str, Path], environment: Environment
) -> None:
    chosen = "" if extra == "base" else f"[{extra}]"
    environment.install(f"paceline{chosen} @ {wheels['paceline'].as_uri()}")
    imported = Imported(**json.loads(environment.python(PROBE)))

    installed = BRINGS.get(extra, {extra})
    missing = imported.missing()
    assert {needed for _, _, needed in missing} & installed == set()
    assert set(ROOMS) <= set(imported.errors)
    closed = {room for room, needed in ROOMS.items() if needed not in installed}
    assert {room for room, _, _ in missing if room in ROOMS} == closed - ALSO.get(extra, set())
    single = {((room, name), needed) for room, name, needed in missing if room not in ROOMS}
    assert single == {(name, needed) for name, needed in NAMES.items() if needed not in installed}
    for room, libraries in imported.loaded.items():
        if room != "paceline.grpc.interceptors":
            assert LATE & set(libraries) == set(), room


def test_the_service_brings_what_its_modules_import(
    wheels: dict[str, Path], environment: Environment, tmp_path: Path
) -> None:
    kit = f"paceline @ {wheels['paceline'].as_uri()}"
    environment.install(kit, str(wheels["myservice"]))
    script = tmp_path / "script.py"
    script.write_text(
        "import pkgutil, importlib, myservice\n"
        "for each in pkgutil.walk_packages(myservice.__path__, 'myservice.'):\n"
        "    print(importlib.import_module(each.name).__name__)\n"
    )
    imported = environment.python(script).splitlines()
    assert "myservice.main" in imported


@pytest.mark.parametrize("name", ["paceline", "myservice"])
def test_a_wheel_has_its_types_its_licence_and_its_metadata(
    name: str, wheels: dict[str, Path]
) -> None:
    with zipfile.ZipFile(wheels[name]) as wheel:
        files = {path.partition("/")[2]: path for path in wheel.namelist()}
        assert "py.typed" in files
        assert wheel.read(files["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()
        metadata = message_from_bytes(wheel.read(files["METADATA"]))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Version"] == import_module(name).__version__
    assert metadata["Summary"]
    classifiers = metadata.get_all("Classifier") or []
    assert "Typing :: Typed" in classifiers
    if name == "paceline":
        assert metadata.get_payload() == (ROOT / "kit/README.md").read_text()
        assert set(metadata.get_all("Provides-Extra") or []) == {*ALL, "all", "testing"}
