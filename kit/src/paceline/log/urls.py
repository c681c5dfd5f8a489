"""URLs that are safe to show: logins and secret parameters masked, wherever in a text they stand.

One masker for settings, logs, errors and tools. Invariant: where it is not clear what is secret,
more is masked than need be: a password with an unescaped "@" or "/" is broken as a URL, and that is
when it lands in an error's text. A user name is shown where a password follows it, or where the
scheme has users without one; what else stands alone before the "@" is a token, as NATS has them.
"""

import re
from typing import Final
from urllib.parse import unquote_plus, urlsplit

MASK: Final = "***"

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_SCHEMES_WITH_PATHS: Final = frozenset({"http", "https", "ws", "wss"})
"""Their paths and queries may hold an "@" and mean nothing by it."""
_SCHEMES_WITH_USERS: Final = frozenset({"postgres", "postgresql", "ssh", "git+ssh", "sftp"})
_PORT: Final = re.compile(r"\d{1,5}[/?#]")
_PARAMETER: Final = re.compile(r"(?<=[?&;#])([^=&;#?\s]{1,256})=[^&;#\s]+")
_SECRET_PARAMETER: Final = re.compile(
    r"(?i)pass|pwd|secret|token|key|credential|signature|jwt|^sig$|^auth$|^code$|authorization"
)


def mask_urls(text: str) -> str:
    """The text without the passwords, tokens and secret parameters of the URLs in it."""
    head, *rest = text.split("://")
    shown = [head]
    before = head
    for each in rest:
        shown.append(_masked(_scheme_at_end(before), each))
        before = each
    return "://".join(shown)


def shown_hosts(urls: str) -> str:
    """Hosts and ports of URLs with commas in between, or the path of a socket, without logins.

    "" where a URL cannot be read: then it is not known where a password ends.
    """
    try:
        parts = [urlsplit(each if "//" in each else f"//{each}") for each in urls.split(",")]
    except ValueError:
        return ""
    if any("@" in part.path + part.query + part.fragment for part in parts):
        return ""  # a password with an unescaped "/", "?" or "#"
    return ", ".join((part.netloc.rpartition("@")[2] or part.path).strip() for part in parts)


def _scheme_at_end(text: str) -> str:
    # The last characters only: a scheme is short, and the text may be long.
    word = re.split(r"[^A-Za-z0-9+.-]", text[-32:])[-1]
    return word.lower() if _SCHEME.match(word) else ""


def _masked(scheme: str, rest: str) -> str:
    """Mask what follows a "://", up to the first blank."""
    address = rest.split(maxsplit=1)[0] if rest and not rest[0].isspace() else ""
    after = rest[len(address) :]
    return _PARAMETER.sub(_parameter, _without_login(scheme, address)) + after


def _without_login(scheme: str, address: str) -> str:
    login, at, host = address.rpartition("@")
    if not at:
        return address
    user, colon, password = login.partition(":")
    in_path = any(mark in user for mark in "/?#")
    if scheme in _SCHEMES_WITH_PATHS and (in_path or _PORT.match(password)):
        return address
    if in_path:
        # A parameter of PostgreSQL's, or a token with an unescaped "/".
        return address if scheme in _SCHEMES_WITH_USERS else f"{MASK}@{host}"
    if colon and password and "@" not in user:
        return f"{user}:{MASK}@{host}"
    return address if scheme in _SCHEMES_WITH_USERS and not colon else f"{MASK}@{host}"


def _parameter(match: re.Match[str]) -> str:
    name = match[1]
    return f"{name}={MASK}" if _SECRET_PARAMETER.search(unquote_plus(name)) else match[0]
