"""What a check-up says of a machine, of packages and of a server's own figures."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from doctor_runs import doctor_run

from paceline.commands.doctor import Finding, Status, fail, ok, warn
from paceline.commands.doctor.findings import as_json, as_text, healthy
from paceline.commands.doctor.machine import (
    check_container,
    check_disk,
    check_open_files,
    check_python,
)
from paceline.commands.doctor.packages import assess_requirements, check_packages, with_extras
from paceline.commands.doctor.postgres import assess_schema, assess_server
from paceline.commands.doctor.redis import assess_redis
from paceline.commands.doctor.runner import run_checks
from paceline.errors import Code, Error
from paceline.postgres.migrate import MigrationState

GIB = 1 << 30


def test_a_line_for_each_finding_and_what_to_do_under_it() -> None:
    findings = [ok("python", "3.14"), warn("disk", "1 GiB\nfree", "make room")]
    assert as_text(findings) == (
        "ok    python  3.14\nwarn  disk    1 GiB free\n              → make room\n\n1 ok, 1 warn\n"
    )
    assert healthy(findings)
    assert not healthy([*findings, fail("nats", "away", "start it")])


def test_json_has_the_same() -> None:
    found = json.loads(as_json([fail("nats", "away", "start it")]))
    assert found == {
        "healthy": False,
        "findings": [{"name": "nats", "status": "fail", "saw": "away", "mend": "start it"}],
    }


async def test_a_check_that_hangs_raises_or_breaks_is_a_finding_and_spoils_no_other() -> None:
    async def hang() -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    async def refuse() -> Sequence[Finding]:
        raise Error(Code.UNAVAILABLE, "cannot connect to db:5432")

    async def burst() -> Sequence[Finding]:
        raise ValueError("postgresql://app:hunter2@db")

    async def well() -> Sequence[Finding]:
        return [ok("a", "1"), ok("b", "2")]

    checks = {"hang": hang, "refuse": refuse, "burst": burst, "well": well}
    found = await run_checks(checks, seconds=0.05)
    assert [each.name for each in found] == ["hang", "refuse", "burst", "a", "b"]
    assert [each.status for each in found[:3]] == [Status.FAIL] * 3
    assert found[0].saw == "no answer within 0.05 s"
    assert found[1].saw == "cannot connect to db:5432"
    assert found[2].saw == "the check itself failed: ValueError"
    assert "hunter2" not in as_text(found)


async def test_no_checks_have_no_findings() -> None:
    assert await run_checks({}) == []


@dataclass(frozen=True)
class Seen:
    id: str
    look: Callable[[], Finding]
    status: Status
    says: str = ""


MACHINE = [
    Seen("this Python", check_python, Status.OK),
    Seen("an old Python", lambda: check_python("3.10.2"), Status.FAIL, "3.10.2"),
    Seen("very few files", lambda: check_open_files(256), Status.FAIL, "256"),
    Seen("few files", lambda: check_open_files(1024), Status.WARN, "1,024"),
    Seen("many files", lambda: check_open_files(65536), Status.OK),
    Seen("any files", lambda: check_open_files(-1), Status.OK, "no limit"),
    Seen("a folder that will be made", lambda: check_disk(Path("/tmp/a/b/c")), Status.OK, "free"),  # noqa: S108 - not made
]


@pytest.mark.parametrize("case", MACHINE, ids=lambda case: case.id)
def test_the_machine(case: Seen) -> None:
    found = case.look()
    if case.id != "a folder that will be made" or found.status is Status.OK:
        assert found.status is case.status
        assert case.says in found.saw
    assert bool(found.mend) is (found.status is not Status.OK)


@dataclass(frozen=True)
class Container:
    id: str
    files: Mapping[str, str]
    processes: int
    statuses: tuple[Status, Status]


CONTAINERS = [
    Container("none", {}, 1, (Status.OK, Status.OK)),
    Container("no limits", {"cpu.max": "max 100000", "memory.max": "max"}, 1, (Status.OK, Status.OK)),
    Container("half a processor", {"cpu.max": "50000 100000"}, 1, (Status.WARN, Status.OK)),
    Container("too many processes", {"cpu.max": "100000 100000"}, 2, (Status.WARN, Status.OK)),
    Container("little memory", {"memory.max": str(GIB // 8)}, 1, (Status.OK, Status.WARN)),
    Container("memory enough", {"memory.max": str(GIB)}, 1, (Status.OK, Status.OK)),
    Container("the first version", {
        "cpu/cpu.cfs_quota_us": "20000", "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(GIB // 8),
    }, 1, (Status.WARN, Status.WARN)),
    Container("the first version without limits", {
        "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
    }, 1, (Status.OK, Status.OK)),
]  # fmt: skip


@pytest.mark.parametrize("case", CONTAINERS, ids=lambda case: case.id)
def test_the_limits_of_a_container(case: Container, tmp_path: Path) -> None:
    for name, text in case.files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    found = check_container(processes=case.processes, root=tmp_path)
    assert tuple(each.status for each in found) == case.statuses


def test_what_is_installed_here_is_as_required() -> None:
    (found,) = check_packages("paceline")
    assert found.status is Status.OK


def test_a_service_that_is_not_installed_is_a_warning_and_the_others_are_checked() -> None:
    unknown, known = check_packages("no-such-service", "paceline")
    assert (unknown.status, "no-such-service is not installed" in unknown.saw) == (
        Status.WARN,
        True,
    )
    assert known.status is Status.OK


@dataclass(frozen=True)
class Requirement:
    id: str
    line: str
    says: str = ""


REQUIREMENTS = [
    Requirement("met", "pytest>=1"),
    Requirement("too old", "pytest>=999.1", "is installed, >=999.1 is needed"),
    Requirement("too new", "pytest<1", "is installed, <1 is needed"),
    Requirement("one bound of two", "pytest>=1,<2", "is needed"),
    Requirement("another", "pytest==0.1", "is needed"),
    Requirement("with extras", "pytest[dev]>=999", "is needed"),
    Requirement("missing", "no-such-package>=1", "not installed"),
    Requirement("missing, of an extra", 'no-such-package>=1; extra == "kafka"'),
    Requirement("no rule", "pytest"),
]


@pytest.mark.parametrize("case", REQUIREMENTS, ids=lambda case: case.id)
def test_a_requirement(case: Requirement) -> None:
    (found,) = assess_requirements([case.line])
    assert found.status is (Status.FAIL if case.says else Status.OK)
    assert case.says in found.saw


def test_the_packages_of_an_extra_are_needed_when_another_distribution_asks_for_it() -> None:
    library = [
        'no-driver>=1; extra == "sql"',
        'no-driver>=1; extra == "all"',
        'no-bus; extra == "q"',
    ]
    found = assess_requirements(with_extras({"app": ["kit[sql]>=1"], "kit": library}))
    assert [(each.name, each.saw) for each in found if each.name != "kit"] == [
        ("no-driver", "not installed")
    ]


@dataclass(frozen=True)
class Schema:
    id: str
    state: MigrationState
    status: Status
    says: str


SCHEMAS = [
    Schema("none", MigrationState(None), Status.FAIL, "no version, and this build needs 7"),
    Schema("old", MigrationState(6), Status.FAIL, "version 6, and this build needs 7"),
    Schema("right", MigrationState(7), Status.OK, "version 7, as"),
    Schema("newer", MigrationState(8), Status.OK, "newer than this build's 7"),
    Schema("dirty", MigrationState(7, dirty=True), Status.FAIL, "failed half way"),
]


@pytest.mark.parametrize("case", SCHEMAS, ids=lambda case: case.id)
def test_the_schema(case: Schema) -> None:
    found = assess_schema(case.state, 7, program="app")
    assert (found.status, case.says in found.saw) == (case.status, True)


GOOD: dict[str, object] = {
    "version": "18.0", "major": 18, "places": 97, "role_limit": -1, "database_limit": -1, "used": 5,
    "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "read_only": False,
    "encoding": "UTF8", "schema": "public", "may_use": True, "may_create": True, "ssl": True,
    "same_machine": False,
}  # fmt: skip


@dataclass(frozen=True)
class Server:
    id: str
    name: str = ""
    status: Status = Status.OK
    row: Mapping[str, object] = field(default_factory=dict[str, object])
    ahead: float = 0.0


SERVERS = [
    Server("all well"),
    Server("an old one", "postgres", Status.FAIL, {"major": 13, "version": "13.2"}),
    Server("fewer places than we want", "connections", Status.FAIL, {"places": 20}),
    Server("a role's limit", "connections", Status.FAIL, {"role_limit": 10}),
    Server("a database's limit", "connections", Status.FAIL, {"database_limit": 10}),
    Server("places that others have", "connections", Status.WARN, {"used": 90}),
    Server("no fsync", "durability", Status.FAIL, {"fsync": "off"}),
    Server("torn pages", "durability", Status.FAIL, {"full_page_writes": "off"}),
    Server("late commits", "durability", Status.WARN, {"synchronous_commit": "off"}),
    Server("a standby", "rights", Status.FAIL, {"read_only": True}),
    Server("no schema", "rights", Status.FAIL, {"schema": None}),
    Server("no right to use", "rights", Status.FAIL, {"may_use": False}),
    Server("no right to create", "rights", Status.WARN, {"may_create": False}),
    Server("open over the network", "encryption", Status.WARN, {"ssl": False}),
    Server("open on one machine", row={"ssl": False, "same_machine": True}),
    Server("another encoding", "encoding", Status.FAIL, {"encoding": "SQL_ASCII"}),
    Server("a clock that is ahead", "clocks", Status.WARN, ahead=2.0),
    Server("a clock that is behind", "clocks", Status.WARN, ahead=-2.0),
    Server("a clock of yesterday", "clocks", Status.FAIL, ahead=-86400.0),
]


@pytest.mark.parametrize("case", SERVERS, ids=lambda case: case.id)
def test_the_database_server(case: Server) -> None:
    row = {**GOOD, **case.row}
    found = assess_server(row, "it", doctor_run(), wanted=25, ahead=case.ahead, round_trip=0.001)
    assert {each.name: each.status for each in found if each.status is not Status.OK} == (
        {case.name: case.status} if case.name else {}
    )
    assert all(each.mend for each in found if each.status is not Status.OK)


def test_a_clock_is_not_blamed_for_a_slow_network() -> None:
    found = assess_server(GOOD, "it", doctor_run(), wanted=25, ahead=2.0, round_trip=3.0)
    assert healthy(found)
    assert found[-1].status is Status.OK


@dataclass(frozen=True)
class Cache:
    id: str
    statuses: tuple[Status, Status] = (Status.OK, Status.OK)
    info: Mapping[str, str] = field(default_factory=dict[str, str])


LIMITED = {
    "redis_version": "7.2.4",
    "role": "master",
    "maxmemory": str(GIB),
    "maxmemory_policy": "allkeys-lru",
}
CACHES = [
    Cache("all well"),
    Cache("no limit", (Status.OK, Status.WARN), {"maxmemory": "0"}),
    Cache("a limit that refuses", (Status.OK, Status.WARN), {"maxmemory_policy": "noeviction"}),
    Cache("an old one", (Status.FAIL, Status.OK), {"redis_version": "5.0.1"}),
    Cache("a replica", (Status.FAIL, Status.OK), {"role": "slave"}),
]


@pytest.mark.parametrize("case", CACHES, ids=lambda case: case.id)
def test_the_cache_server(case: Cache) -> None:
    found = assess_redis({**LIMITED, **case.info}, "it", doctor_run())
    assert tuple(each.status for each in found) == case.statuses
