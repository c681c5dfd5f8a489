"""The development instance on a data folder: one at a time, and found by every other command.

``run`` holds a lock in its data folder and describes itself in a file beside it, so that a second
one and a command that lacks a setting know who it is, where it is and what it uses. Invariants: the
kernel's lock (``flock``) says whether it runs, so the file of a killed one is never believed; the
file holds secrets and is readable by its owner only. Rejected: a pid file alone, which is wrong
once the pid is reused.
"""

import fcntl
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from paceline.commands.settings import ServiceSettings
from paceline.config import Secret, SecretUrl, Settings
from paceline.errors import Code, Error
from paceline.http.server import host_and_port, reachable_host, server_url
from paceline.log import shows_colours, styled

if TYPE_CHECKING:
    from paceline.commands.wiring import Process

_FILE: Final = "instance.json"
_LOCK: Final = "instance.lock"
SECRET_FILE: Final = "jwt-secret"  # noqa: S105 - the name of a file
_ATTEMPTS: Final = 10
_PAUSE: Final = 0.01  # a reader holds the lock for less than this
KEPT: Final = (
    "database_url",
    "nats_url",
    "redis_url",
    "jwt_secret",
    "jwt_issuer",
    "jwt_audience",
    "admin_token",
)
"""The settings that other commands take from a running instance."""


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A running instance. ``url``, ``grpc`` (host:port) and ``admin`` are None while it starts.

    ``admin_certificate``: the file of the certificate by which ``admin`` can be known, if it speaks
    TLS.

    ``settings``: those in effect that other commands may need, by field.
    """

    program: str
    version: str
    pid: int
    started: datetime
    url: str | None = None
    grpc: str | None = None
    admin: str | None = None
    admin_certificate: str | None = None
    settings: dict[str, str] = {}

    @property
    def label(self) -> str:
        """For messages: what it is and how to end it."""
        return f"`{self.program} run` (pid {self.pid})"

    @property
    def ports(self) -> frozenset[int]:
        """Where it listens."""
        places = (self.url, self.admin, self.grpc and f"grpc://{self.grpc}")
        return frozenset(port for place in places if place and (port := urlsplit(place).port))


def describe(starting: Instance, config: ServiceSettings, process: "Process") -> Instance:
    """``starting``, once it has started as ``process``."""
    values = {field: getattr(config, field, None) for field in KEPT}
    http, grpc = process.servers.get("http"), process.servers.get("grpc")
    host = reachable_host(config.host)
    certificate = config.admin_tls_cert
    return msgspec.structs.replace(
        starting,
        url=None if http is None else server_url(config.scheme, host, http.port),
        grpc=None if grpc is None else host_and_port(host, grpc.port),
        admin=None if process.admin is None else process.admin.url,
        admin_certificate=None if certificate is None else str(certificate.absolute()),
        settings={field: _as_text(value) for field, value in values.items() if value is not None},
    )


class InstanceRunning(Error):
    """Another process runs on the data folder."""

    kind = "instance-running"

    def __init__(self, folder: Path, instance: Instance | None) -> None:
        super().__init__(Code.FAILED_PRECONDITION, _who_runs(folder, instance))
        self.instance = instance


def find_instance(data_dir: Path) -> Instance | None:
    """The instance that runs on ``data_dir``, or None. Creates nothing.

    Errors: Error(FAILED_PRECONDITION) for a folder of another account.
    """
    try:
        with (data_dir / _LOCK).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(data_dir)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        message = f"cannot look into the data folder {data_dir}: {exc.strerror}"
        raise Error(Code.FAILED_PRECONDITION, message) from exc
    return None


class InstanceSettings:
    """Finds settings for ``load``: those of the instance on the data folder that is given, if any.

    Without an instance only the secret that ``run`` keeps there. ``folder``: where it looked last.
    """

    def __init__(self, settings: type[Settings]) -> None:
        field = settings.model_fields.get("data_dir")
        self.folder: Path = Path(str(field.default)) if field is not None else Path(".data")

    def __call__(self, given: Mapping[str, object]) -> Mapping[str, tuple[str, str]]:
        """Settings by field, each with where it is from. Errors: as `find_instance`."""
        if (stated := given.get("data_dir")) is not None:
            self.folder = Path(str(stated))
        found: dict[str, tuple[str, str]] = {}
        secret = self.folder / SECRET_FILE
        with suppress(OSError, UnicodeDecodeError):
            found["jwt_secret"] = secret.read_text(encoding="utf-8"), str(secret)
        if (instance := find_instance(self.folder)) is not None:
            where = f"{instance.program} run, pid {instance.pid}, on {self.folder}"
            found |= {field: (value, where) for field, value in instance.settings.items()}
        return found

    def explain(self) -> str:
        """For errors: what there is in the folder, if nothing was found."""
        if self.folder.is_dir():
            return f"none runs on {self.folder}"
        return f"there is no {self.folder} in {Path.cwd()}: --data-dir says where it is"


class InstanceLock:
    """The right to run on ``data_dir``, which is created if need be.

    *Resources*: holds an open file from `acquire` to `release`; `release` removes the description.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir
        self._file: int | None = None

    def acquire(self, instance: Instance) -> None:
        """Take it, and describe ``instance``, which is starting.

        Errors: `InstanceRunning`; Error(FAILED_PRECONDITION) when the folder cannot be used.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            message = f"cannot use the data folder {self._folder}: {exc.strerror}"
            raise Error(Code.FAILED_PRECONDITION, message) from exc
        if not _lock(file):
            os.close(file)
            raise InstanceRunning(self._folder, _read(self._folder))
        self._file = file
        try:
            publish(self._folder, instance)
        except OSError as exc:
            self.release()
            message = f"cannot write into the data folder {self._folder}: {exc.strerror}"
            raise Error(Code.FAILED_PRECONDITION, message) from exc

    def release(self) -> None:
        """Give it up, if it is held."""
        file, self._file = self._file, None
        if file is not None:
            (self._folder / _FILE).unlink(missing_ok=True)
            os.close(file)


def publish(data_dir: Path, instance: Instance) -> None:
    """Describe ``instance``, which holds the lock of ``data_dir``."""
    path = data_dir / _FILE
    aside = path.with_name(f"{_FILE}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(msgspec.json.encode(instance))
    aside.replace(path)


def say_dimly(line: str) -> None:
    """A remark on a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        shown = styled(line, "dim") if shows_colours(sys.stderr) else line
        sys.stderr.write(f"{shown}\n")
        sys.stderr.flush()


def _as_text(value: object) -> str:
    return value.reveal() if isinstance(value, Secret | SecretUrl) else str(value)


def _lock(file: int) -> bool:
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False


def _read(folder: Path) -> Instance | None:
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=Instance)
    except (OSError, msgspec.MsgspecError):
        return None  # it has just started, or is just ending


def _who_runs(folder: Path, instance: Instance | None) -> str:
    if instance is None:
        who = f"another process already runs on the data folder {folder}"
        return f"{who}: stop that one first, or give this one a folder of its own: --data-dir"
    since = instance.started.astimezone()
    day = "" if since.date() == datetime.now().astimezone().date() else f"{since:%Y-%m-%d }"
    where = f" at {instance.url}" if instance.url else ", and is starting"
    return (
        f"{instance.label} already runs on the data folder {folder} since {day}{since:%H:%M:%S}"
        f"{where}. Stop it (kill {instance.pid}), or give this one a folder of its own: --data-dir"
    )
