"""The service's own configuration, which it has when it stands alone, against the checkout's."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from paceline import __version__

ROOT = Path(__file__).parents[2]
HERE: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
SERVICE: dict[str, Any] = tomllib.loads((ROOT / "service/pyproject.toml").read_text())
OWN: dict[str, Any] = SERVICE["tool"]


@pytest.mark.parametrize(
    "keys",
    [
        "ruff target-version", "ruff line-length", "ruff extend-exclude", "ruff lint select",
        "ruff lint ignore", "ruff lint task-tags", "ruff lint pydocstyle",
        "ruff lint per-file-ignores **/tests/**", "ruff lint per-file-ignores tools/**",
        "ruff lint per-file-ignores **/*cli.py",
        "mypy strict", "mypy python_version", "mypy explicit_package_bases",
        "mypy namespace_packages", "mypy warn_unreachable", "mypy plugins",
        "basedpyright pythonVersion", "basedpyright typeCheckingMode",
        "basedpyright reportMissingTypeStubs",
        "pytest ini_options addopts", "pytest ini_options asyncio_mode",
        "pytest ini_options asyncio_default_fixture_loop_scope", "pytest ini_options timeout",
        "pytest ini_options filterwarnings", "pytest ini_options xfail_strict",
    ],
)  # fmt: skip
def test_a_rule_is_the_same_in_both(keys: str) -> None:
    here, own = HERE, OWN
    for key in keys.split(" "):
        here, own = here[key], own[key]
    assert own == here


def test_the_import_contracts_of_the_service_are_the_same_in_both() -> None:
    contracts = {each["name"]: each for each in HERE["importlinter"]["contracts"]}
    for own in OWN["importlinter"]["contracts"]:
        assert contracts[own["name"]] == own


def test_the_markers_of_the_services_tests_are_known_in_both() -> None:
    known = set(HERE["pytest"]["ini_options"]["markers"])
    assert set(OWN["pytest"]["ini_options"]["markers"]) <= known


@pytest.mark.parametrize("name", ["serve", "run", "dev"])
def test_the_service_alone_gets_the_versions_that_are_tested_here(name: str) -> None:
    pinned = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)
    here = dict(pinned.findall((ROOT / "requirements/bench.txt").read_text()))
    own = dict(pinned.findall((ROOT / f"service/requirements/{name}.txt").read_text()))
    assert own.items() <= here.items(), "run: make lock"
    assert "paceline" not in own


def test_the_service_is_a_template_of_this_version() -> None:
    assert OWN["paceline"]["version"] == __version__
    (line,) = [
        each for each in SERVICE["project"]["dependencies"] if each.startswith("paceline[auth")
    ]
    major, minor, _ = (int(part) for part in __version__.split("."))
    assert line.endswith(f">={major}.{minor},<{major}.{minor + 1}")


def test_the_messages_are_generated_by_the_version_that_paceline_new_installs() -> None:
    kit = tomllib.loads((ROOT / "kit/pyproject.toml").read_text())["project"]
    locked = (ROOT / "requirements/dev.txt").read_text()
    (tool,) = [each for each in kit["optional-dependencies"]["scaffold"] if "grpcio-tools" in each]
    assert f"\n{tool} " in locked


def test_the_programs_script_is_the_same_in_both() -> None:
    assert (ROOT / "myservice").read_text() == (ROOT / "service/myservice").read_text()


@pytest.mark.parametrize(
    "lock",
    [*(ROOT / "requirements").glob("*.txt"), *(ROOT / "service/requirements").glob("*.txt")],
    ids=lambda path: f"{path.parts[-3]} {path.stem}",
)
def test_each_version_is_locked_with_its_hashes(lock: Path) -> None:
    text = lock.read_text().replace("\\\n", " ")
    pinned = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert pinned
    for line in pinned:
        assert re.match(r"[\w.\[\],-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line
