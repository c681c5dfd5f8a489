"""What operators need to know of a certificate: from when until when, for which names, by whom.

Reads just that much of X.509's DER (RFC 5280, section 4.1); whether a certificate is valid is for
OpenSSL to say. Rejected: ``cryptography``, which would be 15 MB more for each service with TLS, and
the standard library, which decodes only certificates of a peer that it has verified.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

_CONTEXT_3: Final = 0xA3  # the extensions
_CONTEXT_0: Final = 0xA0  # the version
_UTC_TIME: Final = 0x17
_OCTETS: Final = 0x04
_DNS_NAME, _URI, _IP_ADDRESS = 0x82, 0x86, 0x87
_LONG: Final = 0x80
_ALT_NAMES: Final = b"\x55\x1d\x11"  # 2.5.29.17
_AUTHORITY_ACCESS: Final = b"\x2b\x06\x01\x05\x05\x07\x01\x01"  # 1.3.6.1.5.5.7.1.1
_ISSUERS: Final = b"\x2b\x06\x01\x05\x05\x07\x30\x02"  # 1.3.6.1.5.5.7.48.2


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate. ``names``: hosts, addresses and URIs for which it is (subjectAltName).

    ``subject`` and ``issuer`` are DER, to be compared. ``names_issuer``: it says where its issuer's
    certificate can be fetched, as those do that are signed by an intermediate.
    """

    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    subject: bytes
    issuer: bytes
    names_issuer: bool


def read_certificate(der: bytes) -> Certificate:
    """Read one. Errors: ValueError for what is no certificate."""
    try:
        return _read(der)
    except IndexError as exc:
        raise ValueError("this is no certificate") from exc


def _read(der: bytes) -> Certificate:
    to_be_signed = _members(_only(der))[0][1]
    fields = [each for each in _members(to_be_signed) if each[0] != _CONTEXT_0]
    issuer, validity, subject = (fields[n][1] for n in (2, 3, 4))
    begin, end = (_time(tag, text) for tag, text in _members(validity))
    extensions = dict(_extensions(fields))
    return Certificate(
        not_before=begin,
        not_after=end,
        names=tuple(_names(extensions.get(_ALT_NAMES, b""))),
        subject=subject,
        issuer=issuer,
        names_issuer=any(
            _members(access)[0][1] == _ISSUERS
            for _, access in _inside(extensions.get(_AUTHORITY_ACCESS, b""))
        ),
    )


def _extensions(fields: list[tuple[int, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for tag, content in fields:
        if tag != _CONTEXT_3:
            continue
        for _, extension in _inside(content):
            (_, name), *_, (kind, value) = _members(extension)
            if kind == _OCTETS:
                yield name, value


def _names(content: bytes) -> Iterator[str]:
    for tag, name in _inside(content):
        if tag in (_DNS_NAME, _URI):
            yield name.decode("ascii", "backslashreplace")
        elif tag == _IP_ADDRESS:
            yield str(ip_address(name))


def _time(tag: int, text: bytes) -> datetime:
    """UTCTime, whose years are 1950 to 2049, or GeneralizedTime."""
    digits = text.decode("ascii", "replace")
    if tag == _UTC_TIME:
        digits = ("20" if digits < "50" else "19") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _inside(content: bytes) -> list[tuple[int, bytes]]:
    """The members of the one sequence that ``content`` is; none of nothing."""
    return _members(_only(content)) if content else []


def _only(content: bytes) -> bytes:
    return _members(content)[0][1]


def _members(content: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents, in order. Errors: ValueError, IndexError for what is cut off."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(content):
        tag, length, at = content[at], content[at + 1], at + 2
        if length >= _LONG:
            size = length - _LONG
            length, at = int.from_bytes(content[at : at + size], "big"), at + size
        end = at + length
        if end > len(content):
            raise ValueError("it is cut off")
        found.append((tag, content[at:end]))
        at = end
    return found
