"""The list of scopes, against what the routes need."""

from wired_service import config_on, wire_service

from myservice.scopes import SCOPES
from paceline.testing import RecordingLog

NOBODY = "postgresql://app@127.0.0.1:1/app"


def test_the_list_has_every_scope_that_is_needed_and_no_other() -> None:
    app = wire_service(config_on(NOBODY), RecordingLog()).app
    assert {scope for route in app.routes for scope in route.scopes} == set(SCOPES)
