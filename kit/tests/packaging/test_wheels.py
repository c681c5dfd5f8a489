"""The wheels as a user gets them: one extra at a time, in environments with nothing else.

Every public name is imported: with its extra it must be there, without it the error must say which
extra brings it.
"""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from importlib import import_module
from pathlib import Path

import pytest
from environments import ROOMS, ROOT, Environment

from paceline.scaffold import template_of_wheel

PROBE = Path(__file__).with_name("probe.py")

# A room of the base with single names that need extras.
NAMES = {
    ("paceline.commands", "RpcHandler"): "grpc",
    ("paceline.commands", "serve_grpc"): "grpc",
    ("paceline.commands.doctor", "check_direct"): "postgres",
    ("paceline.commands.doctor", "check_nats"): "nats",
    ("paceline.commands.doctor", "check_postgres"): "postgres",
    ("paceline.commands.doctor", "check_redis"): "redis",
    ("paceline.commands.doctor", "check_schema"): "postgres",
}
ALL = {
    "auth", "console", "engines", "grpc", "kafka", "nats", "otel", "otel-grpc", "postgres", "redis",
}  # fmt: skip
# What an extra brings beside itself: the exporters of traces need protobuf and google.rpc, too.
BRINGS = {
    "all": ALL,
    "otel": {"otel", "grpc"},
    "otel-grpc": {"otel", "otel-grpc", "grpc"},
    "testing": {"testing", "auth", "engines", "postgres"},
}
ADVICE = re.compile(
    r"[a-z.]+ needs \w+, which is not installed: pip install 'paceline\[([\w-]+)\]'"
)
# What no room may load before one of its names is used.
LATE = {
    "aiokafka", "asyncpg", "google", "grpc", "hiredis", "joserfc", "nats", "opentelemetry",
    "pytest", "redis", "textual", "uvloop",
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


@pytest.mark.parametrize("extra", ["base", *sorted(ALL), "testing", "all"])
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
    assert {room for room, _, _ in missing if room in ROOMS} == closed
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


def tracked_service() -> dict[str, bytes]:
    folder = ROOT / "service"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "."],
        cwd=folder, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return {path: (folder / path).read_bytes() for path in filter(None, listed.split("\0"))}


def test_the_wheel_has_the_service_as_its_template(wheels: dict[str, Path]) -> None:
    assert template_of_wheel(wheels["paceline"]).files == tracked_service()


def test_a_wheel_of_the_source_distribution_has_the_template_too(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build"]
    subprocess.run([*build, "-t", "sdist", "-d", tmp_path], cwd=ROOT / "kit", check=True)
    (source,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(source, tmp_path, filter="data")
    unpacked = tmp_path / source.name.removesuffix(".tar.gz")
    subprocess.run([*build, "-t", "wheel", "-d", tmp_path], cwd=unpacked, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert template_of_wheel(wheel).files == tracked_service()


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
        readme = (ROOT / "kit/README.md").read_text()
        assert metadata.get_payload(decode=True) == readme.encode()
        extras = {"all", "scaffold", "testing", *ALL}
        assert set(metadata.get_all("Provides-Extra") or []) == extras
        assert set(re.findall(r"^\| `([\w-]+)` \| [^|]+ \|$", readme, re.MULTILINE)) == extras


def test_a_service_is_installed_without_grpcio_and_uvicorn(
    wheels: dict[str, Path], environment: Environment, tmp_path: Path
) -> None:
    environment.install(f"paceline @ {wheels['paceline'].as_uri()}", str(wheels["myservice"]))
    script = tmp_path / "script.py"
    script.write_text(
        "from importlib.util import find_spec\n"
        "print([name for name in ('grpc', 'uvicorn', 'google.protobuf') if find_spec(name)])\n"
    )
    assert environment.python(script) == "['google.protobuf']\n"
