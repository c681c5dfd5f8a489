"""A service with a database, a queue and tokens, as far as the commands of the kit need one.

It has a prefix of its own, so that a command that names ``APP_`` by itself is found.
"""

from collections.abc import Mapping, Sequence

from paceline.commands import AuthSettings, NatsSettings, PostgresSettings, ServiceSpec, Wiring
from paceline.commands.doctor import Check, DoctorRun, Finding, ok


class Config(PostgresSettings, NatsSettings, AuthSettings, env_prefix="SMALL_"):
    """The settings."""

    colour: str = "blue"
    """Of everything."""


def build(config: Config, wiring: Wiring) -> None:
    """Nothing to wire."""


def checks(config: Config, run: DoctorRun) -> Mapping[str, Check]:
    """One more, and one in the place of the kit's."""

    async def colour() -> Sequence[Finding]:
        return [ok("colour", f"{config.colour}, for {run.purpose} of {run.name}")]

    async def disk() -> Sequence[Finding]:
        return [ok("disk", "of no use to it")]

    return {"colour": colour, "disk": disk}


SCOPES = ("things:read", "things:write")
SERVICE = ServiceSpec(
    name="small",
    version="1.2.3",
    help="A small service.",
    config="small_service:Config",
    build="small_service:build",
    migrations="small_service:migrations",
    scopes="small_service:SCOPES",
    checks="small_service:checks",
)
