"""What a judge says, and how a judge is run on a server of ours.

A judge is a program of others that holds a server against a specification, case by case. Invariant:
a case that fails is either in the judge's table of exceptions, with the reason, or fails the whole;
and an exception that passes fails it, too, so that no table outlives its reasons.
"""

import contextlib
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from paceline.testing import CertificateAuthority

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
PROGRAMS: Final = HERE / "programs"
JAVA_CLIENT: Final = HERE / "tools/fetch_java_client.py"
_GO_TOOL: Final = ROOT / "kit/tests/tools/go_tool.py"
_START_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 20.0
_SAID: Final = 500


class Skipped(Exception):
    """The judge is not on this machine; the text says what is missing."""


@dataclass(frozen=True)
class Verdict:
    """What a judge found in how many cases.

    ``problems``: by case, what is wrong. ``exceptions``: cases that failed as listed, with reasons.
    """

    cases: int
    problems: Mapping[str, str] = field(default_factory=dict[str, str])
    exceptions: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def passed(self) -> int:
        """How many cases passed."""
        return self.cases - len(self.problems) - len(self.exceptions)


def weigh(cases: Collection[str], failed: Mapping[str, str], listed: Mapping[str, str]) -> Verdict:
    """The verdict on named cases. ``failed``: with what was seen. ``listed``: as exceptions."""
    problems = {name: text for name, text in failed.items() if name not in listed}
    if not cases:
        problems["nothing"] = "the judge ran no case"
    for name in listed.keys() & {*cases} - failed.keys():
        problems[name] = "it is listed as an exception, and passes"
    exceptions = {name: listed[name] for name in failed if name in listed}
    return Verdict(len(cases), problems, exceptions)


@dataclass(frozen=True)
class Judge:
    """A judge of one door. ``run``: whether to run the quick form; may raise `Skipped`.

    ``source``: the judge's version. ``quick``: it has a form of seconds.
    """

    name: str
    title: str
    run: Callable[[bool], Verdict]
    source: str
    quick: bool = True


def tool_path(script: Path, *arguments: str) -> str:
    """The path that a script prints, of a program that it has built. Errors: `Skipped`."""
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Skipped(done.stderr.strip())
    return done.stdout.strip()


def go_tool(name: str) -> str:
    """The path of a Go program. Errors: `Skipped`."""
    return tool_path(_GO_TOOL, name)


def go_version(name: str) -> str:
    """The version of a Go program that `go_tool` builds."""
    version: str = runpy.run_path(str(_GO_TOOL))["TOOLS"][name].version
    return version.removesuffix("+incompatible")


def java_version() -> str:
    """The version of grpc-java that is fetched."""
    version: str = runpy.run_path(str(JAVA_CLIENT))["VERSION"]
    return version


@dataclass(frozen=True)
class Target:
    """A server that is judged: where it listens, and its process."""

    port: int
    pid: int


def environment() -> dict[str, str]:
    """What a program needs to find the messages that it shares with judges."""
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


@contextmanager
def started(program: str, *arguments: str | Path) -> Generator[Target]:
    """A server of ``programs``, until the block ends. Errors: RuntimeError.

    What it writes to stderr is shown when it ends by itself.
    """
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, PROGRAMS / f"{program}.py", *arguments],
            stdout=subprocess.PIPE, stderr=said, text=True, env=environment(),
        )  # fmt: skip
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                process.wait(_START_TIMEOUT)
                said.seek(0)
                raise RuntimeError(f"{program} did not start: {said.read()}")
            yield Target(int(line), process.pid)
            if process.poll() is not None:
                said.seek(0)
                raise RuntimeError(f"{program} ended by itself: {said.read()}")
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_TIMEOUT)
            process.kill()
            process.wait()


@contextmanager
def certificate() -> Generator[tuple[Path, Path, Path]]:
    """The files of a certificate for localhost, of its key, and of the authority behind it."""
    with tempfile.TemporaryDirectory() as made:
        authority = CertificateAuthority(Path(made))
        files = authority.issue("server")
        yield files.certificate, files.key, authority.file


def run_case(command: Sequence[str | Path], timeout: float) -> str:
    """Run a judge's case by its exit code: "" when it passed, or what it said, shortened."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            check=False, timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no end within {timeout:g}s"
    if done.returncode == 0:
        return ""
    said = done.stdout.strip() or f"exit {done.returncode}"
    return said if len(said) <= 2 * _SAID else f"{said[:_SAID]} … {said[-_SAID:]}"
