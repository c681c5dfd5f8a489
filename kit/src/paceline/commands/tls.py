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

from paceline.commands.tls_fields import TLS_FIELDS
from paceline.http.server import TlsFile, TlsFiles, TlsFilesError
from paceline.log import Logger

_ROLES: Final[Sequence[TlsFile]] = ("certificate", "key", "client_ca")
_FIELD_OF: Final[Mapping[TlsFile, str]] = dict(zip(_ROLES, TLS_FIELDS, strict=True))


def tls_paths(settings: object, prefix: str) -> dict[str, str]:
    """The files in the attributes with ``prefix``, by `TLS_FIELDS`, as far as they are given."""
    found = {field: getattr(settings, f"{prefix}{field}", None) for field in TLS_FIELDS}
    return {field: str(file) for field, file in found.items() if file is not None}


def tls_files(paths: Mapping[str, str]) -> TlsFiles | None:
    """The files at ``paths``, by `TLS_FIELDS`; None without a certificate and its key.

    Errors: `TlsFilesError`.
    """
    certificate, key, client_ca = (
        Path(paths[field]) if field in paths else None for field in TLS_FIELDS
    )
    if certificate is None or key is None:
        return None
    return TlsFiles(certificate, key, client_ca=client_ca)


def find_tls_problems(given: Mapping[str, object], prefix: str) -> Mapping[str, str]:
    """What is wrong with the files in ``given``, by field."""
    found = {field: given.get(f"{prefix}{field}") for field in TLS_FIELDS}
    try:
        tls_files({field: str(file) for field, file in found.items() if file is not None})
    except TlsFilesError as exc:
        return {f"{prefix}{_FIELD_OF[file]}": text for file, text in exc.problems.items()}
    return {}


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
