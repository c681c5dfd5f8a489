"""``run --reload``: which files count, what is shown of a failure, and which child is served by."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from small_service import SERVICE, Config

from paceline.commands.instance import Instance
from paceline.commands.prefork import ListenerHandoff, WorkerHandoff
from paceline.commands.reload import ReloadHandoff, WatchedFiles, take_handoff, watched_files
from paceline.commands.reload.files import changes
from paceline.commands.reload.handoff import GO, GO_FIRST, VARIABLE, encode
from paceline.commands.reload.program import (
    Program,
    explain_failure,
    find_syntax_error,
    loaded_libraries,
)
from paceline.commands.reload.supervisor import Reloading


def write(path: Path, text: str) -> None:
    """Save it so that the change is seen even within one tick of the clock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_source_counts_and_what_editors_leave_beside_it_does_not(tmp_path: Path) -> None:
    package, env = tmp_path / "package", tmp_path / ".env"
    write(package / "main.py", "a")
    write(package / "gone.py", "a")
    files = WatchedFiles([package], [], [env])
    before = files.snapshot()
    for name in ("__pycache__/main.pyc", ".main.py.swp", "main.py~", "4913", ".git/x.py"):
        write(package / name, "x")
    assert changes(before, files.snapshot()) == []
    write(package / "main.py", "longer")
    write(package / "migrations/000002_x.up.sql", "SELECT 1")
    (package / "gone.py").unlink()
    write(env, "APP_X=1")
    changed = [str(Path(each).relative_to(tmp_path)) for each in changes(before, files.snapshot())]
    assert changed == [".env", "package/gone.py", "package/main.py", "package/migrations/000002_x.up.sql"]  # fmt: skip


def test_beside_a_script_its_folder_counts_and_the_packages_in_it(tmp_path: Path) -> None:
    for name in ("app.py", "helpers.py", "part/__init__.py", "part/inner.py", "data/notes.md"):
        write(tmp_path / name, "")
    found = WatchedFiles([], [tmp_path], []).snapshot()
    assert [str(Path(each).relative_to(tmp_path)) for each in sorted(found)] == [
        "app.py", "helpers.py", "part/__init__.py", "part/inner.py",
    ]  # fmt: skip


def test_the_source_of_a_service_is_its_package_with_its_migrations() -> None:
    files = watched_files(SERVICE, [])
    (root,) = files.roots
    assert root.name == "small_service"
    assert any(name.endswith(".up.sql") for name in files.snapshot())


def test_a_failure_is_told_by_the_lines_of_the_services_own_source(tmp_path: Path) -> None:
    source = tmp_path / "broken.py"
    write(source, "import json\n\ndef build():\n    return json.loads('{')\n")
    names: dict[str, Callable[[], object]] = {}
    exec(compile(source.read_text(), str(source), "exec"), names)  # noqa: S102 - our own text
    with pytest.raises(ValueError, match="Expecting") as failed:
        names["build"]()
    shown = explain_failure(failed.value, [str(tmp_path)])
    assert f"{source}:4 in build\n    return json.loads('{{')\n" in shown
    assert "json/decoder.py" not in shown
    assert shown.splitlines()[-1].startswith("json.decoder.JSONDecodeError: Expecting")


def test_a_syntax_error_is_found_before_a_child_is_spent_on_it(tmp_path: Path) -> None:
    good, bad, sql = tmp_path / "good.py", tmp_path / "bad.py", tmp_path / "x.sql"
    write(good, "a = 1\n")
    write(bad, "a = 1\ndef (\n")
    write(sql, "SELECT (")
    assert find_syntax_error([str(good), str(sql), str(tmp_path / "gone.py")]) == ""
    assert f'{bad}", line 2' in find_syntax_error([str(good), str(bad)])


def test_what_is_below_the_source_is_no_library() -> None:
    roots = [str(root) for root in watched_files(SERVICE, []).roots]
    found = loaded_libraries(roots)
    assert "paceline.commands.settings" in found
    assert "small_service" not in found
    assert "__main__" not in found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["app.py", "run"], Program((), "script", "app.py", ("run",))),
        (["-X", "dev", "app.py"], Program(("-X", "dev"), "script", "app.py", ())),
        (["-m", "app", "run"], Program((), "module", "app", ("run",))),
    ],
    ids=["script", "options", "module"],
)  # fmt: skip
def test_the_program_is_started_as_it_was(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: Program
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", *words])
    monkeypatch.setattr(sys, "argv", ["app", *expected.arguments])
    assert Program.this() == expected


def handoff(folder: Path) -> ReloadHandoff:
    return ReloadHandoff(
        worker=WorkerHandoff(
            worker=1,
            link=3,
            listeners={"http": ListenerHandoff(handle=4, port=8081)},
            admin=5,
        ),
        instance=Instance(program="small", version="1", pid=1, started=datetime.now(UTC)),
        data_dir=str(folder),
        engine_urls={"database_url": "postgresql://a@b/c"},
        roots=[],
        admin_port=9091,
    )


def test_a_child_has_the_supervisors_sockets_and_a_short_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = handoff(tmp_path)
    monkeypatch.setenv(VARIABLE, encode(given))
    taken = take_handoff()
    assert taken == given
    assert take_handoff() is None
    assert taken is not None
    adapted = taken.adapt(Config(admin_port=1, shutdown_timeout=30.0))
    assert (adapted.admin_port, adapted.data_dir) == (9091, tmp_path)
    assert adapted.shutdown_timeout == 2.0


class FakeChild:
    """A child that does what the test says."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.told: list[str] = []
        self.is_ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def ended(self) -> bool:
        return self.status.done()

    async def ready(self) -> bool:
        return await asyncio.shield(self.is_ready)

    async def wait(self) -> int:
        return await asyncio.shield(self.status)

    def send(self, line: bytes) -> None:
        self.sent.append(line)

    def end(self, how: str) -> None:
        self.told.append(how)
        if not self.status.done():
            self.status.set_result(0)

    def fail(self) -> None:
        self.status.set_result(1)
        self.is_ready.set_result(False)


class Loop:
    """`Reloading` on a file, with fake children."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "main.py"
        self.children: list[FakeChild] = []
        self.said: list[str] = []
        write(self.file, "a = 1\n")
        self.reloading = Reloading(
            self._spawn, WatchedFiles([folder], [], []), self.said.append, poll=0.01
        )

    def _spawn(self, libraries: Sequence[str], learn: Callable[[Sequence[str]], None]) -> FakeChild:
        self.children.append(FakeChild())
        return self.children[-1]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - several things at once
                await asyncio.sleep(0.005)

    async def until_started(self, number: int) -> FakeChild:
        """The child that was told to start as number ``number``, from 0."""
        await self.until(lambda: len(self.started) > number)
        return self.started[number]

    @property
    def started(self) -> list[FakeChild]:
        return [child for child in self.children if {GO, GO_FIRST} & {*child.sent}]

    def save(self, text: str) -> None:
        write(self.file, text)


@contextlib.asynccontextmanager
async def reloading(folder: Path) -> AsyncGenerator[Loop]:
    loop = Loop(folder)
    await loop.reloading.start()
    try:
        yield loop
    finally:
        await loop.reloading.stop()


async def test_the_next_child_takes_over_when_it_is_ready(tmp_path: Path) -> None:
    async with reloading(tmp_path) as loop:
        first = await loop.until_started(0)
        assert first.sent == [GO_FIRST]
        first.is_ready.set_result(True)
        await loop.until(lambda: len(loop.children) == 2)
        waiting = loop.children[1]
        assert waiting.sent == [], "it waits"
        loop.save("a = 22\n")
        assert await loop.until_started(1) is waiting
        assert waiting.sent == [GO]
        assert first.told == []
        waiting.is_ready.set_result(True)
        await loop.until(lambda: first.told)
        assert first.told == ["retire"]
        await loop.until(lambda: loop.said)
        assert loop.said[0].startswith("reloaded in ")
        assert loop.said[0].endswith(" s: main.py")
    assert waiting.told == ["retire"], "the one that serves finishes its work"
    assert loop.children[-1].told == ["kill"], "the one that waits has none"


async def test_a_child_that_does_not_get_ready_changes_nothing_and_the_next_save_heals(
    tmp_path: Path,
) -> None:
    async with reloading(tmp_path) as loop:
        first = await loop.until_started(0)
        first.is_ready.set_result(True)
        await loop.until(lambda: len(loop.children) == 2)
        loop.save("a = 22\n")
        (await loop.until_started(1)).fail()
        await loop.until(lambda: loop.said)
        assert loop.said == ["not reloaded: main.py; what was there goes on until the next save"]
        loop.save("a = (\n")
        await loop.until(lambda: len(loop.said) == 2)
        assert "SyntaxError" in loop.said[1]
        assert len(loop.started) == 2
        assert first.told == []
        loop.save("a = 4444\n")
        (await loop.until_started(2)).is_ready.set_result(True)
        await loop.until(lambda: first.told)


async def test_a_first_start_that_fails_waits_for_a_save(tmp_path: Path) -> None:
    async with reloading(tmp_path) as loop:
        (await loop.until_started(0)).fail()
        await loop.until(lambda: loop.said)
        assert loop.said == ["not started; the next save tries again, Ctrl-C stops"]
        loop.save("a = 22\n")
        assert (await loop.until_started(1)).sent == [GO_FIRST]


async def test_a_save_while_a_child_starts_starts_another_one(tmp_path: Path) -> None:
    async with reloading(tmp_path) as loop:
        first = await loop.until_started(0)
        first.is_ready.set_result(True)
        await loop.until(lambda: len(loop.children) == 2)
        loop.save("a = 22\n")
        slow = await loop.until_started(1)
        loop.save("a = 333\n")
        third = await loop.until_started(2)
        assert slow.told == ["terminate"]
        third.is_ready.set_result(True)
        await loop.until(lambda: first.told)


async def test_a_service_that_ends_is_told_and_started_by_the_next_save(tmp_path: Path) -> None:
    async with reloading(tmp_path) as loop:
        first = await loop.until_started(0)
        first.is_ready.set_result(True)
        await loop.until(lambda: len(loop.children) == 2)
        first.status.set_result(3)
        await loop.until(lambda: loop.said)
        assert loop.said == ["the service has ended (status 3); the next save starts it again"]
        loop.save("a = 22\n")
        (await loop.until_started(1)).is_ready.set_result(True)
        await loop.until(lambda: len(loop.said) == 2)


def test_a_child_without_a_supervisor_says_how_it_is_started() -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    alone = subprocess.run(
        [sys.executable, "-m", "paceline.commands.reload"],
        env=environment, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (alone.returncode, "run --reload" in alone.stderr) == (2, True)
