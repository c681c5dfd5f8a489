"""The README of the kit, which is the wheel's: its service runs, its tables are complete.

The service is run as the reader has it, from one file, with nothing installed but the base.
"""

import json
import re
import signal
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from environments import ROOMS, ROOT, Environment

README = (ROOT / "kit/README.md").read_text()
SOURCE = ROOT / "kit/src/paceline"
# Packages inside a room: nobody imports them from outside.
INNER = {"grpc.protos", "http.server.http1", "http.server.http2"}


def table(heading: str) -> list[list[str]]:
    """The cells of the table below ``heading``, by row."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def service() -> str:
    return README.split("```python\n")[1].split("```")[0]


def ask(url: str, method: str, path: str, body: str | None = None) -> tuple[int, object]:
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=10)) as connection:
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def run_service(python: Path, folder: Path) -> None:
    (folder / "books.py").write_text(service())
    with subprocess.Popen(
        [python, "-I", "books.py"],
        cwd=folder, env={"APP_PORT": "0"}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            book = {"title": "The Mythical Man-Month", "year": 1975}
            assert ask(url, "GET", "/books/1") == (200, book)
            assert ask(url, "PUT", "/books/2", json.dumps(book)) == (200, book)
            assert ask(url, "GET", "/books/2") == (200, book)
            assert ask(url, "GET", "/books/3")[0] == 404
            status, problem = ask(url, "PUT", "/books/3", '{"title": "no year"}')
            assert status == 422
            assert "#/year" in str(problem)
            assert "/books/{number}" in str(ask(url, "GET", "/openapi.json"))
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_the_service_of_the_readme_runs(tmp_path: Path) -> None:
    run_service(Path(sys.executable), tmp_path)


@pytest.mark.packaging
@pytest.mark.timeout(300)
def test_the_service_of_the_readme_needs_the_base_only(
    wheels: dict[str, Path], environment: Environment, tmp_path: Path
) -> None:
    environment.install(str(wheels["paceline"]))
    run_service(environment.folder / "venv/bin/python", tmp_path)


def test_the_service_of_the_readme_has_forty_lines() -> None:
    assert len([line for line in service().splitlines() if line]) <= 40


def test_the_table_of_rooms_lists_what_can_be_imported_and_its_extra() -> None:
    packages = {path.parent.relative_to(SOURCE) for path in SOURCE.rglob("__init__.py")}
    modules = {Path(path.stem) for path in SOURCE.glob("*.py") if not path.stem.startswith("_")}
    rooms = {".".join(path.parts) for path in packages | modules} - {""}
    assert rooms >= INNER
    listed = {name.strip("`"): extra for name, _, extra in table("Rooms")}
    assert set(listed) == rooms - INNER
    needed = {
        f"paceline.{name}": extra.strip("`") for name, extra in listed.items() if extra[:1] == "`"
    }
    assert needed == ROOMS


def test_the_imports_of_the_readme_are_public() -> None:
    imports: list[tuple[str, str]] = re.findall(
        r"^from (paceline\S*) import (.*)$", service(), re.MULTILINE
    )
    assert imports
    for room, names in imports:
        module = import_module(room)
        public = getattr(module, "__all__", dir(module))
        assert set(names.split(", ")) <= set(public), room
