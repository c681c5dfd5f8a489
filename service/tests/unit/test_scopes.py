"""The list of scopes, against what the doors ask for."""

from recording_log import RecordingLog

from myservice.config import Config
from myservice.main import build
from myservice.scopes import SCOPES
from paceline.config import Secret, SecretUrl
from paceline.testing import TEST_SECRET

NOBODY = "postgresql://app@127.0.0.1:1/app"


def test_the_list_has_every_scope_that_is_needed_and_no_other() -> None:
    config = Config(database_url=SecretUrl(NOBODY), jwt_secret=Secret(TEST_SECRET))
    app = build(config, RecordingLog()).app
    assert {scope for route in app.routes for scope in route.scopes} == set(SCOPES)
