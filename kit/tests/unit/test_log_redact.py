"""Nothing secret, nothing forged and nothing huge gets into a record."""

import dataclasses
import io
import json
import re
import string
import time
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.log import Format, new_logger
from paceline.log.jsonline import encode
from paceline.log.redact import MAX_TEXT, is_secret, masked, plain
from paceline.log.urls import MASK

JWT: Final = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLW9mLXRoaXM"


@dataclasses.dataclass(frozen=True)
class Case:
    id: str
    given: str
    want: str


TEXTS = [
    Case("plain", "/api/v1/records", "/api/v1/records"),
    Case("a plain URL", "https://host:8080/a/b?c=d", "https://host:8080/a/b?c=d"),
    Case("an e-mail in a query", "http://host:80/?to=a@b.c", "http://host:80/?to=a@b.c"),
    Case("a user without password", "ssh://git@host/repo", "ssh://git@host/repo"),
    Case("a DSN", "postgres://app:hunter2@db:5432/app", "postgres://app:***@db:5432/app"),
    Case("no user", "redis://:hunter2@cache", "redis://:***@cache"),
    Case("amid words", "dial postgres://a:b@c/d: refused", "dial postgres://a:***@c/d: refused"),
    Case("two", "x://a:b@c, y://d:e@f", "x://a:***@c, y://d:***@f"),
    Case("an @ in the password", "x://a:p@ss@host/d", "x://a:***@host/d"),
    Case("a password of digits", "nats://a:12345@host", "nats://a:***@host"),
    Case("digits and a slash", "redis://a:12345/x@host", "redis://a:***@host"),
    Case("a token of NATS", "nats://s3cr3t@host:4222", "nats://***@host:4222"),
    Case("a token with a slash", "nats://s3/cr3t@host:4222", "nats://***@host:4222"),
    Case("a token of a hoster of code", "https://s3cr3t@host/repo", "https://***@host/repo"),
    Case("a user of PostgreSQL", "postgresql://app@db/app", "postgresql://app@db/app"),
    Case("several", "nats://s3cr3t@a:1,nats://b:s3cr3t@c", "nats://***@a:1,nats://b:***@c"),
    Case("several, one scheme", "nats://s3cr3t@a:1,s3cr4t@b:2", "nats://***@b:2"),
    Case("an @ in a path", "https://host/@scope/a", "https://host/@scope/a"),
    Case("a signature", "https://host/j?v=1&sig=s3cr3t", "https://host/j?v=1&sig=***"),
    Case("a parameter", "postgres://h/d?password=s3@x&a=b", "postgres://h/d?password=***&a=b"),
    Case("an escaped name", "postgres://h/d?p%61ssword=s3cr3t", "postgres://h/d?p%61ssword=***"),
    Case("a fragment", "http://host/#access_token=s3cr3t", "http://host/#access_token=***"),
    Case("no secrets", "http://h/?monkey=1&author=2&a=3", "http://h/?monkey=***&author=2&a=3"),
    Case("a slash in the password", "x://a:p/ss@host/d", "x://a:***@host/d"),
    Case("a JWT", f"token {JWT} refused", "token *** refused"),
    Case("a JWT cut short", f"got {JWT[:40]}", "got ***"),
    Case("a JWT, URL-encoded", f"Bearer%20{JWT}", "Bearer%20***"),
    Case("a bearer header", "Bearer abcdef0123456789", "Bearer ***"),
    Case("a sentence on bearers", "Bearer token expected", "Bearer token expected"),
    Case("key=value DSN", "host=db password=hunter2 user=a", "host=db password=*** user=a"),
    Case("a quoted password", "host=db password='s3 cr3t' user=a", "host=db password=*** user=a"),
]


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: case.id)
def test_a_text_keeps_everything_but_its_secrets(case: Case) -> None:
    assert masked(case.given) == case.want


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "Authorization", "proxy-authorization", "cookie", "Set-Cookie", "password",
        "db_password", "passwd", "client_secret", "jwtSecret", "access_token", "api_key", "API-Key",
        "apikey", "private_key", "dsn", "database_url", "DATABASE_URL", "credentials", "body",
        "request_body", "x-amz-signature", "jwt",
    ],
)  # fmt: skip
def test_a_secret_name_is_known_in_every_spelling(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["method", "path", "bytes", "status", "request_id", "trace_id", "client", "error", "key", "url",
     "error_type", "duration_ms", "somebody", "author", "version", "traceback", "keys"],
)  # fmt: skip
def test_a_harmless_name_is_shown(name: str) -> None:
    assert not is_secret(name)


class Login(msgspec.Struct):
    user: str
    password: str


@dataclasses.dataclass
class Credentials:
    user: str
    api_key: str


class Masking:
    def get_secret_value(self) -> str:
        return "hunter2"

    def __str__(self) -> str:
        return "**********"


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_no_secret_shows_at_any_depth_or_in_any_shape(form: Format) -> None:
    buffer = io.BytesIO()
    log = new_logger(stream=io.TextIOWrapper(buffer), format=form)
    log.bind(token="hunter2").error(
        "dial x://u:hunter2@h",
        password="hunter2",
        headers={"Authorization": "hunter2", "x": [("y", {"cookie": "hunter2"})]},
        struct=Login("a", "hunter2"),
        data=[Credentials("a", "hunter2")],
        raw=b"hunter2",
        masking=Masking(),
        nested={"masking": [Masking()]},
        url={"x://u:hunter2@h": 1},
        error=ValueError("postgres://u:hunter2@h"),
        jwt_in_text=JWT,
    )
    text = buffer.getvalue().decode()
    assert "hunter2" not in text
    assert JWT[22:] not in text
    assert text.count(MASK) > 8


@given(st.text(alphabet=string.ascii_letters + string.digits + ":/@?#.", min_size=1, max_size=60))
def test_a_well_formed_password_never_shows(noise: str) -> None:
    assert "hunter2hunter2" not in masked(f"{noise} db://app:hunter2hunter2@host/{noise}")


def test_a_huge_text_is_cut_and_its_secrets_are_masked_first() -> None:
    text = "a" * (MAX_TEXT - 20) + f" {JWT} " + "b" * 1_000_000
    shown = masked(text)
    assert len(shown) < MAX_TEXT + 40
    assert "eyJ" not in shown
    assert shown.endswith("characters)")


@pytest.mark.parametrize("hostile", ["://:", "eyJ", "eyJaaaaa.", "password=", "Bearer ", "://@:"])
def test_a_hostile_text_costs_no_more_than_a_long_one(hostile: str) -> None:
    started = time.process_time()
    masked(hostile * 100_000)
    assert time.process_time() - started < 0.5


def test_a_huge_structure_is_cut() -> None:
    tree: object = "leaf" * 1000
    for _ in range(8):
        tree = {str(n): tree for n in range(100)}
    assert len(json.dumps(plain(tree))) < 100_000


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
))  # fmt: skip
def test_any_value_becomes_one_line_of_valid_json(value: object) -> None:
    line = encode({"value": plain(value)})
    assert line.endswith(b"\n")
    text = line.decode()
    assert len(text.splitlines()) == 1
    json.loads(text)


@pytest.mark.parametrize("form", ["json", "pretty"])
@pytest.mark.parametrize(
    "text",
    [
        'x\n{"level":"error","msg":"forged"}', "x\r\n[error] forged", "\x1b[31mred\x1b[0m", "\x9b31m",
        "a\u2028b\u2029c\x85d", "\x00\x07\x08\x7f", "\ud800lone", "\u202eright to left", "a\x0bb\x0cc",
    ],
    ids=lambda text: ascii(text)[:20],
)  # fmt: skip
def test_no_text_forges_a_line_or_commands_a_terminal(text: str, form: Format) -> None:
    buffer = io.BytesIO()
    log = new_logger(stream=io.TextIOWrapper(buffer), format=form)
    log.error(text, field=text, group={text: [text]}, error=ValueError(text))
    written = buffer.getvalue().decode()
    assert len(written.splitlines()) == 1
    assert re.fullmatch(r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]*\n", written)
    if form == "json" and "\ud800" not in text:
        assert json.loads(written)["field"] == text
