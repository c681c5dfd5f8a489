"""``run --reload`` on a terminal: what a save does, what a mistake does, the debugger, the end."""

import re
import shutil
import sys
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from threading import Event, Thread

import grpc  # paceline: only grpc
import pytest
import records_pb2_grpc  # paceline: only grpc
from service_process import environment, postgres_pids
from terminal import CTRL_C, Terminal, terminal

import myservice
from myservice.proto.v1 import records_pb2 as pb  # paceline: only grpc
from paceline.commands import find_instance

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
PROGRAM = "from myservice.cli import main\n\nif __name__ == '__main__':\n    main()\n"


class Service:
    """A copy of the service's source that may be changed, and it on a terminal."""

    def __init__(self, folder: Path, terminal: Terminal) -> None:
        self.folder = folder
        self.terminal = terminal
        self.source = folder / "myservice"
        self.handler = self.source / "handler/records_http.py"

    def wait_until_up(self) -> None:
        shown = self.terminal.until("\nStop ")
        self.url = re.findall(r"\nAPI +(http://[^\s,]+)", shown)[-1]
        self.token = re.findall(r"#token=(\S+)", shown)[-1]

    def open(self, path: str) -> HTTPResponse:
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url + path, headers=headers)  # noqa: S310
        opened: HTTPResponse = urllib.request.urlopen(request, timeout=60)  # noqa: S310
        return opened

    def get(self, path: str) -> tuple[int, bytes]:
        with self.open(path) as answer:
            return answer.status, answer.read()

    def save(self, path: Path, text: str, expected: str) -> str:
        """Save ``text`` and wait until ``expected`` is shown; what was shown since."""
        seen = len(self.terminal.shown)
        path.write_text(text)
        return self.terminal.until(expected, after=seen)

    def stop(self) -> None:
        """Press Ctrl-C, and wait for a clean end."""
        self.terminal.type(CTRL_C)
        assert self.terminal.process.wait(60) == 0, self.terminal.shown
        assert find_instance(self.folder / ".data") is None


class Load:
    """Clients that ask all the time: over HTTP each on a new connection, over gRPC on a kept one."""

    def __init__(self, service: Service) -> None:
        self.answers: list[int] = []
        self.calls = 0  # paceline: only grpc
        self.failures: list[str] = []
        self._service = service
        self._stopped = Event()

    @contextmanager
    def running(self) -> Generator[None]:
        threads = [Thread(target=self._ask) for _ in range(2)]
        threads += [Thread(target=self._call) for _ in range(2)]  # paceline: only grpc
        for thread in threads:
            thread.start()
        yield
        self._stopped.set()
        for thread in threads:
            thread.join(60)

    def _ask(self) -> None:
        while not self._stopped.is_set():
            try:
                self.answers.append(self._service.get("/api/v1/records")[0])
            except OSError as exc:
                self.failures.append(repr(exc))

    # paceline: only grpc {
    def _call(self) -> None:
        instance = find_instance(self._service.folder / ".data")
        assert instance is not None
        assert instance.grpc is not None
        metadata = (("authorization", f"Bearer {self._service.token}"),)
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(instance.grpc, options=options) as channel:
            records = records_pb2_grpc.RecordServiceStub(channel)
            while not self._stopped.is_set():
                try:
                    records.ListRecords(pb.ListRecordsRequest(), metadata=metadata, timeout=60)
                    self.calls += 1
                except grpc.RpcError as exc:
                    self.failures.append(str(exc))

    # paceline: only grpc }


@contextmanager
def running(
    folder: Path, *words: str, change: Callable[[Path], None] | None = None
) -> Generator[Service]:
    """It, up, with its source changed before; it has ended, and its engines, after the block."""
    shutil.copytree(Path(myservice.__file__).parent, folder / "myservice")
    if change is not None:
        change(folder / "myservice")
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py", "run", "--port", "0", *words]
    variables = {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    with terminal(command, folder, environment(**variables)) as opened:
        service = Service(folder, opened)
        service.wait_until_up()
        yield service
        if opened.process.poll() is None:
            service.stop()
    assert postgres_pids(folder / ".data") == []


def test_a_save_restarts_the_service_and_refuses_no_request(tmp_path: Path) -> None:
    with running(tmp_path, "--reload") as service:
        load = Load(service)
        original = service.handler.read_text()
        with load.running(), service.open("/api/v1/records/updates") as stream:
            shown = service.save(service.handler, original + "# changed\n", "reloaded in")
            assert re.search(r"reloaded in \d+\.\d s: records_http\.py", shown)
            ending = [line for line in stream.read().splitlines() if line]
            assert ending[-1].startswith(b"retry: "), "an open stream ends as one to come back to"
            # A migration is applied; who reads the file again finds the table.
            migration = service.source / "migrations/000900_sample.up.sql"
            shown = service.save(migration, "CREATE TABLE sample (id int);", "reloaded in")
            assert "migrated 000900/u sample" in shown
        assert load.answers
        assert load.calls  # paceline: only grpc
        assert load.failures == []


def test_a_mistake_is_shown_with_its_place_and_the_next_save_heals(tmp_path: Path) -> None:
    with running(tmp_path, "--reload") as service:
        original = service.handler.read_text()
        broken = original.replace("def register(", "def register((")
        shown = service.save(service.handler, broken, "not reloaded: records_http.py")
        assert 'records_http.py", line ' in shown
        assert service.get("/api/v1/records")[0] == 200, "what was there goes on"
        service.handler.write_text(original)
        main = service.source / "main.py"
        shown = service.save(main, main.read_text() + "\nnowhere()\n", "main.py; what was there")
        assert "myservice/main.py:" in shown
        assert "NameError: name 'nowhere' is not defined" in shown
        whole = main.read_text().replace("\nnowhere()\n", "")
        service.save(main, whole, "reloaded in")
        # Ctrl-C while the next one starts.
        seen = len(service.terminal.shown)
        service.handler.write_text(original + "# changed\n")
        time.sleep(0.3)
        service.stop()
        assert "Traceback" not in service.terminal.shown[seen:]


@pytest.mark.parametrize(
    ("words", "at_the_prompt"),
    [([], False), (["--reload"], True)],
    ids=["run, Ctrl-C after it", "run --reload, Ctrl-C at its prompt"],
)
def test_a_breakpoint_opens_the_debugger_and_ctrl_c_stops_the_service(
    tmp_path: Path, words: list[str], *, at_the_prompt: bool
) -> None:
    with running(tmp_path, *words, change=add_breakpoint) as service:
        terminal = service.terminal
        answers: list[int] = []
        seen = len(terminal.shown)
        asking = Thread(target=lambda: answers.append(service.get("/api/v1/records")[0]))
        asking.start()
        terminal.until("(Pdb) ", after=seen)
        terminal.type("p 1000 + 1\r")
        terminal.until("1001\n(Pdb) ", after=seen)
        if not at_the_prompt:
            terminal.type("c\r")
            asking.join(60)
            assert answers == [200]
        service.stop()
        asking.join(60)


def add_breakpoint(source: Path) -> None:
    """In the handler that lists records."""
    handler = source / "handler/records_http.py"
    before, anchor, after = handler.read_text().partition("    async def list_records(")
    head, end, body = after.partition('"""\n')
    assert end
    handler.write_text(f"{before}{anchor}{head}{end}        breakpoint()\n{body}")
