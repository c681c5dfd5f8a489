"""The list of scopes, against what the doors ask for."""

from myservice.config import Config
from myservice.main import build
from myservice.scopes import SCOPES
from paceline.config import Secret, SecretUrl
from paceline.testing import RecordingLog

NOBODY = "postgresql://app@127.0.0.1:1/app"


def test_the_list_has_every_scope_that_is_needed_and_no_other() -> None:
    config = Config(
        database_url=SecretUrl(NOBODY), jwt_secret=Secret("q8Zr5vNw2kLx7TbYc4HsUj9GdFm3PaEo")
    )
    app = build(config, RecordingLog()).app
    assert {scope for route in app.routes for scope in route.scopes} == set(SCOPES)
