"""TLS by the settings: the files of each port, and SIGHUP, which reads them again.

The files of HTTP and gRPC are the same (``tls_…``), the admin port has its own (``admin_tls_…``).
They are also read again when they change (`paceline.http.server.TlsFiles`). A process without TLS
leaves SIGHUP as it is: it ends the process.
"""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from paceline.http.server import TlsFile, TlsFiles, TlsFilesError
from paceline.log import Logger

PUBLIC: Final = "tls_"
ADMIN: Final = "admin_tls_"
_FIELDS: Final = ("cert", "key", "client_ca")
_FILES: Final[Mapping[str, TlsFile]] = {
    "cert": "certificate",
    "key": "key",
    "client_ca": "client_ca",
}


def tls_files(settings: object, prefix: str) -> TlsFiles | None:
    """The files in the attributes with ``prefix``; None without a certificate.

    Errors: `TlsFilesError`.
    """
    return _tls_files({each: getattr(settings, f"{prefix}{each}", None) for each in _FIELDS}, "")


def find_tls_problems(given: Mapping[str, object], prefix: str) -> Mapping[str, str]:
    """What is wrong with the files in ``given``, by field."""
    try:
        _tls_files(given, prefix)
    except TlsFilesError as exc:
        fields = {_FILES[field]: field for field in _FIELDS}
        return {f"{prefix}{fields[file]}": text for file, text in exc.problems.items()}
    return {}


def _tls_files(given: Mapping[str, object], prefix: str) -> TlsFiles | None:
    paths = [given.get(f"{prefix}{field}") for field in _FIELDS]
    certificate, key, client_ca = (None if each is None else Path(str(each)) for each in paths)
    if certificate is None or key is None:
        return None
    return TlsFiles(certificate, key, client_ca=client_ca)


class ReloadOnHangup:
    """Reads ``files`` again at each SIGHUP; a service of a process.

    *Resources*: the signal's handler, from `start` to `stop`.
    """

    name = "TLS files"

    def __init__(self, files: Sequence[TlsFiles], log: Logger) -> None:
        self._files = files
        self._log = log
        self._before = signal.getsignal(signal.SIGHUP)

    async def start(self) -> None:
        """Listen for the signal."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    async def stop(self) -> None:
        """Leave it as it was."""
        if asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP):
            signal.signal(signal.SIGHUP, self._before)

    def _reload(self) -> None:
        for each in self._files:
            each.renew(self._log)
