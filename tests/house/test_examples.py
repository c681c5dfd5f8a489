"""Guides and pattern book: every pattern has its heading, every example is checked as code is.

`pytest docs` runs the examples (``docs/conftest.py``).
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from page_examples import Example, examples_of

from myservice.cli import SERVICE
from paceline.commands import list_commands

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "docs/patterns"
GUIDES = ROOT / "docs/guides"
PAGES = sorted([*BOOK.glob("*.md"), *GUIDES.glob("*.md")])
EXAMPLES = [example for page in PAGES for example in examples_of(page)]
LONGEST = 40
"""Lines of an example, without imports and blank ones."""
EXCERPT = re.compile(r"<!-- excerpt: (\S+) -->\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"\bmake ([a-z][a-z-]+)")
PROGRAM = re.compile(r"\bmyservice ([a-z][a-z-]+)")
INLINE = re.compile(r"`([^`\n]+)`")
SHELL = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHERS = [
    path
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    if path not in PAGES
]
RUN = {"README.md", "docs/first-service.md"}
"""Pages whose code is run by tests of their own."""
AROUND = {
    "docs/api-page.md": """
from paceline.http import RouteGroup
class Handler:
    async def create(self) -> None: return
    async def archive(self) -> None: return
api: RouteGroup
handler: Handler
""",
    "docs/grpc.md": "token: str",
    "docs/tour.md": """
from paceline.commands import PostgresSettings, Wiring
from paceline.postgres import Pool, PoolSettings
config: PostgresSettings
wiring: Wiring
""",
}
"""What the fragments of other pages stand in."""


@dataclass(frozen=True)
class Chapter:
    """A page and its headings, in order; ``run``: those that have an example."""

    page: str
    title: str
    run: tuple[str, ...]
    told: tuple[str, ...] = ()


CHAPTERS = [
    Chapter("layout", "Project layout", ("Key principles",), ("Standard layout",)),
    Chapter("http", "HTTP", ("Server with graceful shutdown", "Middleware", "Handlers")),
    Chapter("grpc", "gRPC", ("Protobuf definition", "Server with interceptors", "Streaming")),
    Chapter("concurrency", "Concurrency", ("Worker pool", "errgroup", "Fan-out and fan-in", "Channels and select")),
    Chapter("database", "Database", ("Repository", "Transactions", "Migrations")),
    Chapter("errors", "Errors", ("Sentinel errors and wrapping",)),
    Chapter("configuration", "Configuration", ("A typed class of settings",)),
    Chapter("testing", "Testing", ("Table-driven tests", "Integration tests on a real database", "Fakes behind interfaces")),
    Chapter("observability", "Observability", ("Structured logs", "Traces")),
    Chapter("messaging", "Message queue", ("NATS consumer", "Outbox and inbox", "Kafka")),
    Chapter("caching", "Caching", ("Cache-aside",)),
    Chapter("deployment", "Deployment", ("Docker multi-stage build", "Kubernetes deployment")),
    Chapter("cli", "Command line", ("Commands", "Terminal interface")),
    Chapter("choosing", "Python, Go or Rust", ("When to use which",)),
]  # fmt: skip


def test_the_book_has_these_chapters_in_this_order() -> None:
    listed = re.findall(
        r"^\| \[([^\]]+)\]\((\w+)\.md\)", (BOOK / "README.md").read_text(), re.MULTILINE
    )
    assert listed == [(chapter.title, chapter.page) for chapter in CHAPTERS]
    assert {page.stem for page in BOOK.glob("*.md")} == {
        "README",
        *(chapter.page for chapter in CHAPTERS),
    }


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.page)
def test_every_pattern_says_what_go_does_what_differs_and_what_it_costs(chapter: Chapter) -> None:
    text = (BOOK / f"{chapter.page}.md").read_text()
    assert text.startswith(f"# {chapter.title}\n")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sorted(headings) == sorted([*chapter.run, *chapter.told])
    assert [each.heading for each in examples_of(BOOK / f"{chapter.page}.md")] == [*chapter.run]
    if chapter.page == "choosing":
        return
    for section in text.split("\n## ")[1:]:
        for label in ("**In Go**", "**What differs.**", "**What it costs.**"):
            assert section.count(label) == 1, (section.partition("\n")[0], label)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_is_short_and_tests_itself(example: Example) -> None:
    assert "def test_" in example.code
    assert example.length <= LONGEST


def check(*command: str | Path, stdin: str = "") -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT, input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_the_examples_have_strict_types(tmp_path: Path) -> None:
    for example in EXAMPLES:
        (tmp_path / f"{example.name}.py").write_text(example.code)
    check("mypy", "--config-file", "pyproject.toml", *sorted(tmp_path.iterdir()))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_keeps_the_rules_of_style(example: Example) -> None:
    name = f"--stdin-filename=tests/house/{example.name}.py"
    check("ruff", "check", "--extend-ignore=D", name, "-", stdin=example.code)
    check("ruff", "format", "--diff", name, "-", stdin=example.code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_an_excerpt_has_lines_of_its_file_in_their_order(page: Path) -> None:
    for name, block in EXCERPT.findall(page.read_text()):
        lines = iter(line.strip() for line in (ROOT / name).read_text().splitlines())
        missing = [
            line for line in block.splitlines() if line.strip() and line.strip() not in lines
        ]
        assert missing == [], name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_a_block_is_run_or_an_excerpt_or_plain_text(page: Path) -> None:
    text = EXCERPT.sub("", page.read_text())
    assert set(re.findall(r"^```(\w+)$", text, re.MULTILINE)) <= {"python", "text"}


@pytest.mark.timeout(300)
def test_fragments_on_other_pages_have_types(tmp_path: Path) -> None:
    found = {str(page.relative_to(ROOT)): PYTHON.findall(page.read_text()) for page in OTHERS}
    fragments = {name: blocks for name, blocks in found.items() if blocks and name not in RUN}
    assert fragments.keys() == AROUND.keys()
    for name, blocks in fragments.items():
        code = "\n".join([AROUND[name], *blocks])
        (tmp_path / f"page_{Path(name).stem.replace('-', '_')}.py").write_text(code)
    check("mypy", "--config-file", "pyproject.toml", *sorted(tmp_path.iterdir()))


@pytest.mark.parametrize("page", [*OTHERS, *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_that_a_page_names_are_there(page: Path) -> None:
    text = "\n".join([*SHELL.findall(page.read_text()), *INLINE.findall(page.read_text())])
    makefiles = (ROOT / "Makefile").read_text() + (ROOT / "service/Makefile").read_text()
    targets = {*re.findall(r"^([a-z-]+):", makefiles, re.MULTILINE)}
    assert {*MAKE.findall(text)} <= targets
    assert {*PROGRAM.findall(text)} <= {command.name for command in list_commands(SERVICE)}
