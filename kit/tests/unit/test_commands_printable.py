"""What commands print of strangers' texts: nothing that a terminal would interpret."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from paceline.commands import fail
from paceline.commands.dead import as_json, as_line, as_page
from paceline.commands.doctor import findings
from paceline.config.report import EffectiveSetting, settings_as_json, settings_as_text
from paceline.log import printable, printable_json
from paceline.messaging import DeadLetter
from paceline.messaging.nats import StoredDeadLetter

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x00\x7f\u202egnp\u2028"
LETTER = StoredDeadLetter(
    7,
    DeadLetter(
        id=HOSTILE, subject=HOSTILE, data=HOSTILE.encode(), consumer=HOSTILE, attempts=1,
        kind=HOSTILE, reason=HOSTILE, died_at=datetime(2026, 11, 28, tzinfo=UTC), key=HOSTILE,
        headers={HOSTILE: HOSTILE},
    ),
)  # fmt: skip
FINDINGS = [findings.warn("nats", HOSTILE, HOSTILE)]
SETTINGS = [EffectiveSetting("APP_HOST", HOSTILE, HOSTILE, HOSTILE)]


@dataclass(frozen=True)
class Output:
    id: str
    make: Callable[[], str]


TEXTS = [
    Output("dead list", lambda: as_line(LETTER)),
    Output("dead show", lambda: as_page(LETTER)),
    Output("dead --json", lambda: as_json(LETTER)),
    Output("doctor", lambda: findings.as_text(FINDINGS)),
    Output("doctor --json", lambda: findings.as_json(FINDINGS)),
    Output("config", lambda: settings_as_text(SETTINGS)),
    Output("config --json", lambda: settings_as_json(SETTINGS)),
]


def assert_harmless(text: str) -> None:
    assert [sign for sign in text if not sign.isprintable() and sign not in "\n\t"] == []
    assert "owned" in text


@pytest.mark.parametrize("output", TEXTS, ids=lambda each: each.id)
def test_a_table_holds_nothing_that_a_terminal_would_interpret(output: Output) -> None:
    assert_harmless(output.make())


def test_nor_does_what_a_command_ends_with(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        fail(f"first\n{HOSTILE}")
    assert_harmless(capsys.readouterr().err)


def test_a_letters_lines_stay_lines() -> None:
    text = as_page(StoredDeadLetter(7, DeadLetter(
        id="i", subject="s", data=b'{\n\t"a": 1\n}', consumer="c", attempts=1, kind="k", reason="r",
        died_at=datetime(2026, 11, 28, tzinfo=UTC),
    )))  # fmt: skip
    assert text.endswith('\n\n{\n\t"a": 1\n}')


@given(st.text())
def test_what_is_escaped_is_printable_and_json_stays_the_same(text: str) -> None:
    assert printable(text).isprintable()
    encoded = json.dumps(text, ensure_ascii=False)
    assert json.loads(printable_json(encoded)) == text
