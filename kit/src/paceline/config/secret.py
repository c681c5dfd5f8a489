"""Settings whose values must not be shown: secrets, and URLs with a password.

Invariant: ``str``, ``repr``, JSON and every report show a mask; `Secret.reveal` is the only way to
the value, and easy to search for. `SecretUrl` masks what is secret only, since an operator needs to
see the host. `checked_by` refuses a secret that is too easy to guess, by a rule that the caller
gives.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from paceline.config.value_format import ValueFormat
from paceline.log import MASK, mask_urls

WEAK: Final = "weak_secret"
"""The type of the validation error for a weak secret; its message is safe to show."""

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


class Secret(SecretStr):
    """A text that is shown as ``***``."""

    expected: ClassVar[str] = "a secret text"
    metavar: ClassVar[str] = "SECRET"

    def reveal(self) -> str:
        """The value. Do not log it."""
        return self.get_secret_value()

    def _display(self) -> str:
        return MASK


class SecretUrl(Secret):
    """A URL that is shown without what is secret in it: ``postgres://app:***@db:5432/app``.

    Errors: ``ValueError`` for a text that is not a URL.
    """

    expected: ClassVar[str] = 'a URL like "scheme://user:password@host:port/name"'
    metavar: ClassVar[str] = "URL"

    def __init__(self, secret_value: str) -> None:
        if _SCHEME.fullmatch(secret_value) is None:
            raise ValueError(f"expected {self.expected}")
        super().__init__(secret_value)

    def _display(self) -> str:
        return mask_urls(self.get_secret_value())


@dataclass(frozen=True, slots=True)
class _CheckedSecret(ValueFormat):
    find_weakness: Callable[[bytes], str | None] = lambda _: None

    def __get_pydantic_core_schema__(
        self, source: type[Secret], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, secret: Secret) -> Secret:
        weakness = self.find_weakness(secret.reveal().encode("utf-8", "surrogateescape"))
        if weakness is not None:
            raise PydanticCustomError(WEAK, "one that {weakness}", {"weakness": weakness})
        return secret


def checked_by(find_weakness: Callable[[bytes], str | None], *, expected: str) -> ValueFormat:
    """Refuse a `Secret` that is easy to guess.

    ``find_weakness`` receives the secret's bytes and returns what is wrong with it, to be read
    after "one that" and without a part of the secret ("is shorter than 32 bytes"), or None.

        Annotated[Secret, checked_by(secret_weakness, expected="at least 32 random bytes")]
    """
    return _CheckedSecret(expected, find_weakness=find_weakness)


@dataclass(frozen=True, slots=True)
class _CheckedUrl(ValueFormat):
    schemes: tuple[str, ...] = ()
    several: bool = False
    check: Callable[[str], object] = str

    def __get_pydantic_core_schema__(
        self, source: type[SecretUrl], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        checked = core_schema.no_info_after_validator_function(self._check, handler(source))
        return core_schema.no_info_before_validator_function(self._join, checked)

    def _join(self, value: object) -> object:
        if self.several and isinstance(value, str):
            return ",".join(part.strip() for part in value.split(","))
        return value

    def _check(self, url: SecretUrl) -> SecretUrl:
        text = url.reveal()
        for each in text.split(",") if self.several else [text]:
            scheme, separator, _ = each.partition("://")
            if separator and scheme.lower() not in self.schemes:
                shown = scheme if _SCHEME.fullmatch(f"{scheme}://x") else "another"
                message = f"expected {self.expected}, got one that begins with {shown}://"
                raise ValueError(message)
        self.check(text)
        return url


def checked_url(
    *schemes: str,
    expected: str,
    several: bool = False,
    check: Callable[[str], object] = str,
) -> ValueFormat:
    """Refuse a `SecretUrl` with another scheme, or one that ``check`` refuses with a ValueError.

    The error's text is shown: it must hold no part of the URL that is secret. ``several``: URLs
    with commas, and with blanks around these, which are left out.

        Annotated[SecretUrl, checked_url("nats", "tls", several=True, expected="nats://host:port")]
    """
    return _CheckedUrl(expected, schemes=schemes, several=several, check=check)
