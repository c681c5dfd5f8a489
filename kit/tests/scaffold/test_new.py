"""`paceline new` on its command line: what it refuses, and what it makes without any tool."""

import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from paceline.scaffold import find_project, new_program, running_template, template_of_wheel
from paceline.scaffold.wheel import pack_wheel

TEMPLATE = running_template()
OWN = TEMPLATE.rules.name.distribution


def paceline(*words: str) -> Result:
    return CliRunner().invoke(new_program().typer(), list(words))


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@dataclass(frozen=True)
class Refused:
    id: str
    words: tuple[str, ...]
    why: str


@pytest.mark.parametrize("case", [
    Refused("capitals", ("Shop",), "lower-case"),
    Refused("keyword", ("class",), "keyword"),
    Refused("Python's own", ("json",), "Python's own"),
    Refused("the kit", ("paceline",), "package of paceline"),
    Refused("a dependency", ("msgspec",), "package of msgspec"),
    Refused("a package of a dependency", ("google",), "package of"),
    Refused("a folder of every project", ("tests",), "name of a file"),
    Refused("a helper of the tests", ("wired-service",), "name of a file"),
    Refused("an unknown feature", ("shop", "--without", "grpc,kafka"), "kafka"),
    Refused("full, and without", ("shop", "--full", "--without", "grpc"), "--full"),
    Refused("full, and a resource", ("shop", "--full", "--resource", "invoice"), "--full"),
    Refused("no resource", ("shop", "--resource", "Invoice"), "resource"),
    Refused("a folder that is not empty", ("shop", "--directory", "taken"), "not empty"),
    Refused("a file", ("shop", "--directory", "taken/file"), "exists"),
], ids=lambda case: case.id)  # fmt: skip
def test_what_cannot_be_made_is_refused_with_a_sentence(case: Refused) -> None:
    Path("taken").mkdir()
    Path("taken/file").touch()
    result = paceline("new", *case.words)
    assert result.exit_code == 2
    assert case.why in result.stderr
    assert [path.name for path in Path().iterdir()] == ["taken"], "nothing is left behind"


def test_the_whole_service_under_its_own_name_is_the_template_byte_for_byte() -> None:
    result = paceline("new", OWN, "--full", "--no-git")
    assert result.exit_code == 0, result.output
    root = Path(OWN)
    made = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.parent.name != "wheels"
    }
    assert made == TEMPLATE.files
    for path in root.rglob("*"):
        is_script = path.is_file() and path.read_bytes().startswith(b"#!")
        assert not path.is_file() or os.access(path, os.X_OK) == is_script, path
    (wheel,) = find_project(root).wheels
    assert template_of_wheel(wheel).files == TEMPLATE.files
    assert result.stdout.splitlines()[1].strip() == f"cd {OWN} && make run"


def test_the_first_commit_has_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "ada")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ada@example.com")
    assert paceline("new", OWN, "--full").exit_code == 0
    status = ["git", "status", "--porcelain"]
    done = subprocess.run(status, cwd=OWN, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    log = subprocess.run(
        ["git", "log", "--format=%an"], cwd=OWN, capture_output=True, text=True, check=True
    )
    assert log.stdout == "ada\n"


def test_in_a_repository_it_makes_no_second_one() -> None:
    subprocess.run(["git", "init", "--quiet"], check=True)
    result = paceline("new", OWN, "--full")
    assert result.exit_code == 0
    assert "in a repository already" in result.stderr
    assert not Path(OWN, ".git").exists()


def test_an_installed_distribution_is_packed_the_same_every_time(tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "paceline-9.8.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: paceline\nVersion: 9.8\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py3-none-any\n")
    (info / "INSTALLER").write_text("pip")
    (site / "paceline").mkdir()
    (site / "paceline/__init__.py").write_text('"""A kit."""\n')
    (site / "paceline/run").write_text("#!/bin/sh\n")
    listed = [
        "paceline/__init__.py",
        "paceline/run",
        "paceline/__pycache__/a.pyc",
        "../bin/paceline",
    ]
    listed += [f"{info.name}/{name}" for name in ("METADATA", "WHEEL", "INSTALLER", "RECORD")]
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in listed))
    first = pack_wheel(PathDistribution(info), tmp_path / "one")
    second = pack_wheel(PathDistribution(info), tmp_path / "two")
    assert first.name == "paceline-9.8-py3-none-any.whl"
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as wheel:
        names = {name.rpartition("/")[2]: wheel.getinfo(name) for name in wheel.namelist()}
    assert set(names) == {"__init__.py", "run", "METADATA", "WHEEL", "RECORD"}
    assert names["run"].external_attr >> 16 & 0o111
    uv = Path(sys.executable).with_name("uv")
    target = ["--target", str(tmp_path / "installed")]
    subprocess.run([uv, "--quiet", "pip", "install", "--no-deps", *target, first], check=True)
    assert (tmp_path / "installed/paceline/run").read_text() == "#!/bin/sh\n"
