"""`paceline add` and `paceline remove`: what they refuse, show, make, and take away again."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_projects import run
from typer.testing import CliRunner, Result

from paceline.scaffold import ResourceName, find_project, new_program
from paceline.scaffold.add import resource_changes

ROOT = Path(__file__).parents[3]
PLACED = re.compile(r"^((?:api|docs|src|tests)/\S+)", re.MULTILINE)
WHO = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"]


def paceline(*words: str) -> Result:
    return CliRunner().invoke(new_program().typer(), list(words))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in its repository."""
    folder = tmp_path_factory.mktemp("made") / "shop"
    assert paceline("new", "shop", "--directory", str(folder), "--no-git").exit_code == 0
    run(["git", "init", "--quiet"], folder)
    commit(folder)
    return folder


@pytest.fixture
def shop(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the folder that the commands are given in."""
    folder = tmp_path / "shop"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


def commit(folder: Path) -> None:
    run(["git", "add", "--all"], folder)
    run(["git", *WHO, "commit", "--quiet", "--message", "x"], folder)


def status(folder: Path) -> list[str]:
    return run(["git", "status", "--porcelain", "--untracked-files=all"], folder).splitlines()


@dataclass(frozen=True)
class Refused:
    id: str
    words: str
    why: str
    code: int = 2


@pytest.mark.parametrize("case", [
    Refused("no field", "resource invoice", "needs a field"),
    Refused("no type", "resource invoice number", "is no field"),
    Refused("an unknown type", "resource invoice number:text", "the types are str"),
    Refused("a field that there is", "resource invoice version:int", "has id, version"),
    Refused("a keyword", "resource invoice from:str", "keyword"),
    Refused("the name of a type", "resource invoice int:int", "name of a type"),
    Refused("capitals", "resource invoice Number:str", "lower-case"),
    Refused("a field twice", "resource invoice a:str a:int", "given twice"),
    Refused("a resource in capitals", "resource Invoice a:str", "lower case"),
    Refused("a keyword as a resource", "resource class a:str", "keyword"),
    Refused("one that is its plural", "resource sheep a:str --plural sheep", "must differ"),
    Refused("the resource that is there", "resource record a:str", "exists already"),
    Refused("a file of that name", "resource thing a:str --plural records", "exists already"),
    Refused("a table of that name", "resource post a:str --plural inbox", "makes a table inbox"),
    Refused("a word of SQL", "resource limitation a:str --plural limit", "a word of SQL"),
    Refused("a name that the code uses", "resource query a:str", "code uses"),
    Refused("a wildcard", "consumer payments --subject payments.>", "without"),
    Refused("a consumer in capitals", "consumer Payments --subject a.b", "cannot be a name"),
    Refused("a command that is a keyword", "command import", "keyword"),
    Refused("a migration in capitals", "migration Index", "lower case"),
], ids=lambda case: case.id)  # fmt: skip
def test_what_cannot_be_added_is_refused_with_a_sentence(shop: Path, case: Refused) -> None:
    result = paceline("add", *case.words.split())
    assert case.why in result.stderr
    assert result.exit_code == case.code
    assert status(shop) == []


@pytest.mark.parametrize("command", ["add resource invoice a:str", "remove resource invoice"])
def test_outside_of_a_project_nothing_is_done(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = paceline(*command.split())
    assert result.exit_code == 2
    assert "paceline new NAME" in result.stderr


def test_a_consumer_needs_the_queue(shop: Path) -> None:
    file = shop / "pyproject.toml"
    file.write_text(file.read_text().replace("without = []", 'without = ["nats"]'))
    result = paceline("add", "consumer", "payments", "--subject", "payments.received")
    assert result.exit_code == 2
    assert "made without nats" in result.stderr


def test_a_missing_anchor_is_named(shop: Path) -> None:
    file = shop / "src/shop/main.py"
    file.write_text(file.read_text().replace("    # paceline: routes\n", ""))
    commit(shop)
    result = paceline("add", "resource", "invoice", "number:str", "--no-grpc")
    assert result.exit_code == 1
    assert "'paceline: routes'" in result.stderr
    assert status(shop) == []


def test_a_dry_run_shows_the_diff_and_changes_nothing(shop: Path) -> None:
    result = paceline("add", "resource", "invoice", "number:str", "--dry-run")
    assert result.exit_code == 0
    assert "+++ b/src/shop/domain/invoices.py" in result.stdout
    assert "+    InvoiceHandler(invoices).register(api)" in result.stdout
    assert "# src/shop/proto/v1/invoices_pb2.py: generated" in result.stdout
    assert status(shop) == []


@pytest.mark.parametrize("options", [[], ["--no-grpc"]], ids=["grpc", "http only"])
def test_what_was_added_and_is_removed_leaves_no_trace(shop: Path, options: list[str]) -> None:
    added = paceline("add", "resource", "line_item", "number:str", "seen:datetime?", *options)
    assert added.exit_code == 0, added.stderr
    assert len(added.stdout.splitlines()) == 3
    names = {line[3:] for line in status(shop)}
    assert "src/shop/domain/line_items.py" in names
    assert ("src/shop/proto/v1/line_items_pb2.py" in names) == (not options)
    removed = paceline("remove", "resource", "line_item")
    assert removed.exit_code == 0, removed.stderr
    assert "migrate force" in removed.stdout
    assert status(shop) == []
    assert not (shop / "docs/line_items.md").exists()


def test_a_committed_migration_stays_and_another_one_drops_the_table(shop: Path) -> None:
    assert paceline("add", "resource", "invoice", "number:str", "--no-grpc").exit_code == 0
    commit(shop)
    removed = paceline("remove", "resource", "invoice")
    assert "drop_invoices" in removed.stdout
    folder = shop / "src/shop/migrations"
    (up,) = folder.glob("*_drop_invoices.up.sql")
    (down,) = folder.glob("*_drop_invoices.down.sql")
    assert up.read_text() == "DROP TABLE invoices;\n"
    assert down.read_text().startswith("CREATE TABLE invoices (")
    again = paceline("add", "resource", "invoice", "number:str", "--no-grpc")
    assert "makes a table invoices already" in again.stderr


def test_what_was_changed_since_is_left_and_named(shop: Path) -> None:
    assert paceline("add", "resource", "invoice", "number:str", "--no-grpc").exit_code == 0
    file = shop / "src/shop/main.py"
    file.write_text(
        file.read_text().replace("InvoiceHandler(invoices)", "InvoiceHandler( invoices)")
    )
    removed = paceline("remove", "resource", "invoice")
    assert removed.exit_code == 0
    assert "'InvoiceHandler(invoices).register(api)' is not there" in removed.stdout
    assert "InvoiceHandler(invoices)" in file.read_text(), "formatted, and left"


def test_what_the_project_is_made_of_and_what_is_not_there_is_not_removed(shop: Path) -> None:
    assert "made with" in paceline("remove", "resource", "record").stderr
    assert "no resource invoice" in paceline("remove", "resource", "invoice").stderr
    assert status(shop) == []


def test_a_consumer_shares_a_stream_that_is_there(shop: Path) -> None:
    for name, subject in {"payments": "payments.received", "refunds": "payments.refunded"}.items():
        assert paceline("add", "consumer", name, "--subject", subject).exit_code == 0
    text = (shop / "src/shop/worker/refunds.py").read_text()
    assert "from shop.worker.payments import PAYMENTS_STREAM" in text
    wiring = (shop / "src/shop/main.py").read_text()
    assert wiring.count("PAYMENTS_STREAM,") == 2  # import and use
    # By its room, or a process that only serves would load the queue's library.
    assert wiring.count("import paceline.messaging.nats as nats_room\n") == 1
    assert wiring.count("= nats_room.NatsConsumer(") == 2
    assert "import NatsConsumer" not in wiring


def test_a_migration_gets_the_next_number(shop: Path) -> None:
    last = max(path.name for path in (shop / "src/shop/migrations").glob("*.up.sql"))
    result = paceline("add", "migration", "index_things")
    up, down = result.stdout.splitlines()
    assert up == f"src/shop/migrations/{int(last[:6]) + 1:06d}_index_things.up.sql"
    assert (shop / down).is_file()


def test_the_list_of_files_for_a_resource_by_hand_is_complete() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.partition("## Add a resource\n")[2].partition("\n## ")[0]
    files, lines = (block.partition("```")[0] for block in section.split("```\n")[1::2])
    project = find_project(ROOT / "service")
    changes = resource_changes(project, ResourceName.parse("invoice"), ["number:str"], grpc=True)
    assert PLACED.findall(files) == sorted(numberless(changes.made))
    assert PLACED.findall(lines) == sorted(changes.edited)


def numberless(files: Mapping[str, object]) -> list[str]:
    return [re.sub(r"/\d{6}_", "/NNNNNN_", path) for path in files]
