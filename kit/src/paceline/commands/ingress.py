"""Who may come in, how often, and whether there is room: the same decision for HTTP and gRPC.

One verifier and one set of limits stand behind both servers, so what one refuses the other refuses,
and a caller has one budget however it calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Rooms of extras: their names are imported when they are used.
import paceline.auth as auth_room
import paceline.redis as redis_room
from paceline.commands.settings import AuthSettings, require_settings
from paceline.commands.wiring import Wiring
from paceline.edge import FailureLimit
from paceline.errors import Code, Error
from paceline.resilience import Admission, Limiter, RateLimiter, RateLimits

_GROUP = "api"


@dataclass(frozen=True, slots=True)
class Ingress:
    """What both servers ask of a request before it is handled."""

    verifier: "auth_room.JwtVerifier"
    failures: FailureLimit | None
    limits: RateLimits
    http: Admission
    grpc: Admission


def new_ingress(
    wiring: Wiring,
    config: AuthSettings,
    *,
    scope_limits: Sequence[tuple[str, int]] = (),
    redis: "redis_room.Redis | None" = None,
) -> Ingress:
    """As configured, registered with ``wiring``.

    ``scope_limits``: requests a second for operations that need a scope, apart from the general
    limit. ``redis``: where replicas share the limits; without, each process counts for itself.
    """
    require_settings(config, "new_ingress", AuthSettings)

    def limiter(rate: int, name: str) -> Limiter:
        local = RateLimiter(wiring.clock, rate=rate)
        if redis is None:
            return local
        return wiring.add(redis_room.SharedLimiter(redis, local, rate=rate, name=name))

    verifier = _verifier(wiring, config)
    limits = RateLimits(
        limiter(config.rate_limit, "limit") if config.rate_limit else None,
        group=_GROUP,
        by_scope={scope: limiter(rate, f"limit {scope}") for scope, rate in scope_limits},
    )
    wiring.limits["rate_limit"] = config.rate_limit
    wiring.limits["auth_failure_limit"] = config.auth_failure_limit
    return Ingress(
        verifier,
        _failures(wiring, config),
        limits,
        wiring.add(Admission(wiring.shedder, "http")),
        wiring.add(Admission(wiring.shedder, "grpc")),
    )


def require_ingress(given: object) -> None:
    """Refuse anything else in its place. Errors: Error(FAILED_PRECONDITION)."""
    if not isinstance(given, Ingress):
        raise Error(
            Code.FAILED_PRECONDITION,
            f"a server needs an Ingress and got {type(given).__name__}; write"
            " new_ingress(wiring, config) after config",
        )


def _failures(wiring: Wiring, config: AuthSettings) -> FailureLimit | None:
    if not config.auth_failure_limit:
        return None
    limiter = RateLimiter(wiring.clock, rate=config.auth_failure_limit)
    return FailureLimit(limiter, wiring.log, wiring.clock)


def _verifier(wiring: Wiring, config: AuthSettings) -> "auth_room.JwtVerifier":
    keys: list[auth_room.KeySource] = [*_secrets(config)]
    if config.jwks_url is not None:
        # With a secret tokens can be verified at once; without one it waits for the keys.
        required = config.jwt_secret is None
        fetch = auth_room.jwks_fetcher(config.jwks_url)
        keys.append(
            wiring.add(auth_room.JwksSource(fetch, wiring.log, wiring.clock, required=required))
        )
    return auth_room.JwtVerifier(
        keys,
        wiring.clock,
        issuer=config.jwt_issuer,
        audience=config.jwt_audience,
        several_issuers=config.jwks_url is not None and config.jwt_issuer is None,
    )


def _secrets(config: AuthSettings) -> "Sequence[auth_room.HmacSecrets]":
    """The secret and its predecessor, if there are any."""
    if config.jwt_secret is None:
        return ()
    current, previous = config.jwt_secret, config.jwt_secret_previous
    return (
        auth_room.HmacSecrets(
            current.reveal().encode(), previous.reveal().encode() if previous else None
        ),
    )
