"""Who can get in: the admin port's address, the secrets that sign tokens, others' public keys.

No finding holds a secret. A weak one is not found here, because it is a fault of the settings.
"""

from collections.abc import Sequence

from paceline.auth import JwksSource, jwks_fetcher
from paceline.commands.admin import require_token
from paceline.commands.doctor.findings import Finding, fail, ok, warn
from paceline.commands.doctor.runner import DoctorRun
from paceline.commands.settings import AuthSettings, ServiceSettings
from paceline.config import format_duration
from paceline.errors import Error, chain


def check_admin(config: ServiceSettings, run: DoctorRun) -> Finding:
    """Whether the admin port may start: open to other machines it needs a token."""
    variable, token = run.variable("admin_token"), config.get_admin_token()
    try:
        require_token(config.admin_host, token, variable=variable)
    except Error as exc:
        return fail("admin", exc.message, f"set {variable}: openssl rand -base64 32")
    allowed = "whoever has the token" if token else "this machine only"
    return ok("admin", f"on {config.admin_host}, for {allowed}")


def check_secrets(config: AuthSettings) -> list[Finding]:
    """The secrets that tokens are verified with."""
    found: list[Finding] = []
    if config.jwt_secret is not None:
        found.append(ok("token secret", "set, long enough and not guessable"))
    if config.jwt_secret_previous is not None:
        saw = f"still set; tokens live {format_duration(config.token_expiry)}"
        found.append(warn("previous secret", saw, "take it away once the last of them is gone"))
    return found


def check_claims(config: AuthSettings, run: DoctorRun) -> Finding:
    """Whether tokens that a JWKS verifies must name an issuer and an audience."""
    name = "jwks claims"
    for problem in config.jwks_problems(dict(config)).values():
        saw, _, mend = problem.partition("; ")
        return fail(name, saw, mend)
    open_claims = [
        claim
        for claim, value in (("issuer", config.jwt_issuer), ("audience", config.jwt_audience))
        if not value
    ]
    if open_claims:
        variables = " and ".join(run.variable(f"jwt_{claim}") for claim in open_claims)
        return warn(name, f"any {' and any '.join(open_claims)} is accepted", f"set {variables}")
    return ok(name, "issuer and audience are checked")


async def check_jwks(location: str, run: DoctorRun) -> Sequence[Finding]:
    """Whether the public keys at ``location``, a URL or a file, can be had and used."""
    keys = JwksSource(jwks_fetcher(location), run.log, run.clock)
    try:
        await keys.start()
    except Error as exc:
        mend = f"see that {run.variable('jwks_url')} is right, and can be reached from here"
        return [fail("jwks", chain(exc), mend)]
    await keys.stop()
    return [ok("jwks", f"{len(keys.keys)} keys that can be used")]
