"""The page "Your first service", as a reader would do it: its file is written, run and grown.

What differs from one run to the next (ids, times) is ``<uuid>``, ``<time>`` or ``<id>`` on the page.
"""

import ast
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.skipif(shutil.which("curl") is None, reason="the page needs curl"),
]

PAGE = (Path(__file__).parents[4] / "docs/first-service.md").read_text()
FILE = re.compile(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^<!-- (\w+)[^\n]*-->\n```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
SAME = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z"), "<time>"),
    (re.compile(r'"request_id":"[^"]+"'), '"request_id":"<id>"'),
]
SECRET = "q8Zr5vNw2kLx7TbYc4HsUj9GdFm3PaEo"
PATIENCE = 90.0
LINES = 36
"""Of code in the file, without imports and blank lines: what "thirty lines" may be."""


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def block(language: str, text: str) -> str:
    return text.split(f"```{language}\n")[1].split("```", maxsplit=1)[0]


def definitions(code: str) -> dict[str, tuple[int, int]]:
    """The lines of each class and function at the top of ``code``, by its name."""
    return {
        node.name: (node.lineno - 1, node.end_lineno or 0)
        for node in ast.parse(code).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }


def grown(code: str, changes: str) -> str:
    """``code`` with the definitions and imports of ``changes``, in place of those of their name."""
    lines, new = code.splitlines(), changes.splitlines()
    added: list[str] = []
    for name, (start, end) in definitions(changes).items():
        old = definitions("\n".join(lines)).get(name)
        if old is None:
            added += [*new[start:end], "", ""]
        else:
            lines[old[0] : old[1]] = new[start:end]
    first = min(start for start, _ in definitions("\n".join(lines)).values())
    imports = [line for line in new if line.startswith("from ")]
    return "\n".join([*lines[:first], *imports, "", "", *added, *lines[first:], ""])


@dataclass
class Script:
    """``python app.py`` in a folder, as the page has it."""

    folder: Path
    port: int
    variables: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("APP_")}
        path = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
        settings = {"APP_PORT": str(self.port), "APP_ADMIN_PORT": "0", "APP_LOG_FORMAT": "json"}
        return {**kept, "PATH": path, "COLUMNS": "200", **settings, **self.variables}

    @contextmanager
    def running(self, *words: str) -> Generator["Running"]:
        """A process of it, ended at the end of the block."""
        log = self.folder / f"log-{time.monotonic_ns()}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "app.py", *words],
                cwd=self.folder, env=self.environment, stdout=out, stderr=out,
            )  # fmt: skip
        try:
            yield Running(process, log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "app.py", *words],
            cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip

    def answers(self, steps: list[tuple[str, str]], **variables: str) -> list[str]:
        """What a shell prints for each command of the page."""
        mark = "the next answer"
        url = f"http://127.0.0.1:{self.port}"
        lines = [f"{name}={value}" for name, value in variables.items()]
        for command, _ in steps:
            lines += [command.replace("http://127.0.0.1:8080", url), f"echo '{mark}'"]
        shell = subprocess.run(
            ["bash", "-c", "\n".join(lines)], env=self.environment, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
        found = shell.stdout.replace("\r", "").split(f"{mark}\n")[:-1]
        for pattern, name in SAME:
            found = [pattern.sub(name, answer) for answer in found]
        return found

    def ask(self, path: str, token: str = "", body: object = None) -> tuple[int, bytes]:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urlopen(request, timeout=PATIENCE) as response:  # noqa: S310
                return response.status, response.read()
        except HTTPError as exc:
            return exc.code, exc.read()


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    log: Path

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            late = self.process.poll() is not None or time.monotonic() > deadline
            assert not late, self.log.read_text()
            time.sleep(0.05)

    def until_logged(self, text: str, times: int = 1) -> None:
        self.until(lambda: self.log.read_text().count(text) >= times)

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def script(tmp_path: Path) -> Script:
    for name, content in FILE.findall(PAGE):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return Script(tmp_path, free_port())


@pytest.fixture
def deployed(script: Script, database: str) -> Script:
    """The same, with the variables that production needs."""
    script.variables |= {"APP_DATABASE_URL": database, "APP_JWT_SECRET": SECRET}
    return script


def steps(kind: str) -> list[tuple[str, str]]:
    """The commands of the consoles of this kind, each with the answer below it."""
    text = "".join(console for name, console in CONSOLE.findall(PAGE) if name == kind)
    # A "$" in a command is never followed by a blank, so only prompts were cut at.
    found = [step.partition("\n") for step in text.split("$ ") if step]
    return [(command, answer) for command, _, answer in found]


def expected(kind: str) -> list[str]:
    return [answer for _, answer in steps(kind)]


def listening(script: Script) -> bool:
    try:
        return script.ask("/ready")[0] == 200
    except OSError:
        return False


def test_the_file_has_about_thirty_lines() -> None:
    code = dict(FILE.findall(PAGE))["app.py"]
    imports = {
        line
        for node in ast.parse(code).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    written = [
        line for number, line in enumerate(code.splitlines(), 1) if line and number not in imports
    ]
    assert len(written) <= LINES


def test_the_page_is_true(script: Script) -> None:
    with script.running("run") as service:
        service.until(lambda: listening(script))
        assert script.answers(steps("run")) == expected("run")
        assert script.ask("/docs")[0] == 200
        document = json.loads(script.ask("/openapi.json")[1])
        assert {"/api/v1/notes", "/api/v1/notes/{id}"} <= {*document["paths"]}
        assert service.stop(signal.SIGINT) == 0
    app = script.folder / "app.py"
    app.write_text(grown(app.read_text(), block("python", section("Grow it"))))
    with script.running("run", "--longest", "10") as service:
        service.until(lambda: listening(script))
        token = script.run("token", "--sub", "ada", "--all-scopes").stdout.strip()
        notes = f"http://127.0.0.1:{script.port}/api/v1/notes"
        assert script.answers(steps("grown"), TOKEN=token, NOTES=notes) == expected("grown")
        assert service.stop(signal.SIGINT) == 0
    shown = " ".join(script.run("run", "--help").stdout.split())
    own = "This service: --longest NUMBER The longest note, in characters. [default: 280]"
    assert own in shown


def commands_of(environment: Mapping[str, str]) -> list[list[str]]:
    """The page's commands for production, but for those that set the environment."""
    lines = block("sh", section("Run it in production")).splitlines()
    code = [line.partition("#")[0].strip() for line in lines]
    assert {line.partition("=")[0] for line in code if line.startswith("export ")} == {
        f"export {name}" for name in environment
    }
    return [line.split()[2:] for line in code if line.startswith("python app.py ")]


def test_the_file_serves_in_production(deployed: Script) -> None:
    script = deployed
    migrate, doctor, serve = commands_of(script.variables)
    assert script.run(*serve).returncode != 0, "the schema is not there yet"
    assert re.match(r"000001/u create_notes ", script.run(*migrate).stdout)
    # Nothing else is wrong with it: the test's server keeps nothing through a crash of the machine.
    checked = script.run(*doctor).stdout
    failed = [line for line in checked.splitlines() if line.startswith("fail")]
    assert [line.split()[1] for line in failed] == ["durability"], checked
    assert "version 1, as this build needs" in checked
    token = script.run("token", "--sub", "ada", "--all-scopes").stdout.strip()
    with script.running(*serve) as service:
        service.until(lambda: listening(script))
        status, answer = script.ask("/api/v1/notes", token, {"text": "Milk"})
        assert status == 201, answer
        service.process.send_signal(signal.SIGHUP)
        service.until_logged('"msg":"worker ready"', times=4)
        assert script.ask(f"/api/v1/notes/{json.loads(answer)['id']}", token) == (200, answer)
        assert service.stop(signal.SIGTERM) == 0


def test_the_file_is_an_application_for_a_foreign_server(deployed: Script) -> None:
    code = (
        "from app import SERVICE; from paceline.commands import new_asgi_app;"
        " print(len(new_asgi_app(SERVICE).routes))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=deployed.folder, env=deployed.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.stdout == "4\n", shown.stderr


def test_a_mistake_is_told_as_the_page_says(deployed: Script) -> None:
    script = deployed
    app = script.folder / "app.py"
    app.write_text(app.read_text().replace("id: Path[UUID]", "id: UUID"))
    wrong = script.run("serve")
    assert wrong.returncode == 2
    assert "does not say where it comes from" in wrong.stderr
    assert wrong.stderr in PAGE
