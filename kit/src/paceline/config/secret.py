"""Settings that nobody may read by accident.

Invariant: ``str``, ``repr``, JSON and every report show a mask; `Secret.reveal` is the one way to
the value, and easy to search for. `SecretUrl` masks the password only, since an operator needs to
see which host is meant. `vetted` refuses a secret that is too easy to guess; what that means is
the caller's (``paceline.auth`` has the rule for token secrets).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from paceline.config.value_format import Form

MASK: Final = "***"

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_SECRET_PARAMETER: Final = re.compile(r"(?i)([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*")


class Secret(SecretStr):
    """A text that shows as ``***``."""

    expected: ClassVar[str] = "a secret text"

    def reveal(self) -> str:
        """The value. Do not log it."""
        return self.get_secret_value()

    def _display(self) -> str:
        return MASK


class SecretUrl(Secret):
    """A URL that shows without its password: ``postgres://app:***@db:5432/app``.

    Errors: ``ValueError`` for a text that is no URL.
    """

    expected: ClassVar[str] = 'a URL like "scheme://user:password@host:port/name"'

    def __init__(self, secret_value: str) -> None:
        if _SCHEME.fullmatch(secret_value) is None:
            raise ValueError(f"expected {self.expected}")
        super().__init__(secret_value)

    def _display(self) -> str:
        return mask_url(self.get_secret_value())


def mask_url(text: str) -> str:
    """The text without the password, if it is a URL that has one."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    # Up to the last "@": where a password holds one unescaped, rather too much is masked.
    userinfo, at, address = rest.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    shown = f"{user}:{MASK}{at}{address}" if colon else rest
    return f"{scheme}://" + _SECRET_PARAMETER.sub(rf"\1{MASK}", shown)


@dataclass(frozen=True, slots=True)
class _Vetted(Form):
    find_fault: Callable[[bytes], str | None] = lambda _: None

    def __get_pydantic_core_schema__(
        self, source: type[Secret], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._vet, handler(source))

    def _vet(self, secret: Secret) -> Secret:
        fault = self.find_fault(secret.reveal().encode("utf-8", "surrogateescape"))
        if fault is not None:
            raise PydanticCustomError("fault", "one that {fault}", {"fault": fault})
        return secret


def vetted(find_fault: Callable[[bytes], str | None], *, expected: str) -> Form:
    """Refuse a secret that is easy to guess.

    For an annotation: ``Annotated[Secret, vetted(weak_secret, expected="at least 32 bytes")]``.
    ``find_fault`` gets the secret's bytes and says what is wrong with it, to be read after "one
    that" and without a part of the secret ("is shorter than 32 bytes"), or None.
    """
    return _Vetted(expected, find_fault=find_fault)
