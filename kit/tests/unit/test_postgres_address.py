"""URLs of hosters and of other tools: translated, or refused with the parameter's name."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.postgres.address import DatabaseAddress, parse_address

BASE = "postgresql://u:secret@db:5432/app"


def test_a_plain_url_is_passed_on_as_it_is() -> None:
    assert parse_address(BASE) == DatabaseAddress(BASE)
    assert parse_address(f"{BASE}?sslmode=require").dsn == f"{BASE}?sslmode=require"


@dataclass(frozen=True)
class Translated:
    name: str
    query: str
    target: str | None = None
    connect_timeout: float | None = None
    settings: tuple[tuple[str, str], ...] = ()


TRANSLATED = (
    Translated("a hoster's", "sslmode=require&channel_binding=prefer"),
    Translated("timeout", "connect_timeout=10", connect_timeout=10.0),
    Translated("no timeout", "connect_timeout=0"),
    Translated("keepalives", "keepalives=1&keepalives_idle=30&keepalives_interval=5"),
    Translated("gss", "gssencmode=disable"),
    Translated("name", "application_name=shop", settings=(("application_name", "shop"),)),
    Translated("options", "options=-c%20geqo%3Doff", settings=(("options", "-c geqo=off"),)),
    Translated("a session's", "search_path=app", settings=(("search_path", "app"),)),
    Translated("target", "target_session_attrs=read-write", target="read-write"),
    Translated("the usual table", "x-migrations-table=schema_migrations"),
)


@pytest.mark.parametrize("case", TRANSLATED, ids=lambda case: case.name)
def test_what_is_known_is_translated(case: Translated) -> None:
    found = parse_address(f"{BASE}?{case.query}")
    expected = (case.target, case.connect_timeout, case.settings)
    assert (found.target, found.connect_timeout, found.server_settings) == expected
    known = {"sslmode": "require"} if "sslmode" in case.query else {}
    assert urlsplit(found.dsn).query == "&".join(f"{k}={v}" for k, v in known.items())


@dataclass(frozen=True)
class Refused:
    query: str
    names: str


REFUSED = (
    Refused("channel_binding=require", "channel_binding cannot be demanded"),
    Refused("gssencmode=require", "gssencmode cannot be demanded"),
    Refused("x-migrations-table=versions", "x-migrations-table is a parameter of golang-migrate"),
    Refused("x-multi-statement=true", "x-multi-statement is a parameter of golang-migrate"),
    Refused("pool_max_conns=10", "pool_max_conns is a parameter of pgxpool"),
    Refused("pgbouncer=yes", "pgbouncer is neither true nor false"),
    Refused("currentSchema=app", "currentSchema is a parameter of JDBC"),
    Refused("target_session_attrs=master", "target_session_attrs is not one of any"),
    Refused("connect_timeout=5s", "connect_timeout is not a number of seconds"),
    Refused("load_balance_hosts=random", "load_balance_hosts can only be disable"),
    Refused("sslrootcert=/nowhere/ca.pem", "sslrootcert names a file that does not exist"),
    Refused("We%20ird=1", "'We ird' is not a parameter"),
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.query)
def test_what_cannot_be_done_is_named(case: Refused) -> None:
    with pytest.raises(ValueError, match=case.names) as caught:
        parse_address(f"{BASE}?{case.query}")
    assert "secret" not in str(caught.value)


def test_a_file_that_exists_is_taken(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.touch()
    assert str(certificate) in parse_address(f"{BASE}?sslrootcert={certificate}").dsn


@dataclass(frozen=True)
class Hosts:
    dsn: str
    hosts: tuple[tuple[str, int | None], ...]


HOSTS = (
    Hosts("postgresql://u@a:1,b:2/app", (("a", 1), ("b", 2))),
    Hosts("postgresql://u@a,b:2/app", (("a", None), ("b", 2))),
    Hosts("postgresql://u@[::1]:1,[2001:db8::1]/app", (("::1", 1), ("2001:db8::1", None))),
    Hosts("postgresql://u@/app?host=/x,/y&port=5432", (("/x", 5432), ("/y", 5432))),
    Hosts("postgresql://u@/app?host=a,b&port=1,2", (("a", 1), ("b", 2))),
    Hosts("postgresql://u@a:1/app", ()),
    Hosts("postgresql://u@/app?host=/x&port=1", ()),
)


@pytest.mark.parametrize("case", HOSTS, ids=lambda case: case.dsn)
def test_several_servers_are_taken_apart(case: Hosts) -> None:
    assert parse_address(case.dsn).hosts == case.hosts


@given(st.text(min_size=1))
def test_no_text_of_a_refusal_holds_the_password(password: str) -> None:
    dsn = f"postgresql://user:se{password}cret@db:5432/app?nonsense-parameter=1"
    assert f"se{password}cret" not in refusal_of(dsn)


def refusal_of(dsn: str) -> str:
    try:
        parse_address(dsn)
    except ValueError as exc:
        return str(exc)
    return ""
