"""The account that PostgreSQL runs as, and which files that account can reach.

PostgreSQL refuses to run as root, so root starts it as an unprivileged account; every other user
runs it as itself. The account needs a passwd entry (initdb looks itself up), and an existing
cluster keeps its owner. Rejected: creating an account of our own, and widening folders' modes, both
of which change the machine without its owner's consent.
"""

import os
import pwd
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from paceline.engines.errors import EngineError

ACCOUNT_NAMES: Final = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account to run a server as."""

    name: str
    uid: int
    gid: int


def server_account(cluster: Path, *, names: Sequence[str] = ACCOUNT_NAMES) -> Account | None:
    """The account to run the server of ``cluster`` as; None: the current one.

    As root: the owner of the cluster if there is one already, else the first of ``names`` that
    exists. Errors: `EngineError` when none exists, or the cluster belongs to another account.
    """
    owner = _owner(cluster)
    current = os.geteuid()
    if current != 0:
        if owner is not None and owner.uid != current:
            message = (
                f"{cluster} belongs to {owner.name}, not to you, probably because it was made "
                "as root: go on as root, or give it another data folder"
            )
            raise EngineError(message)
        return None
    if owner is None:
        return _first(names)
    if owner.uid == 0:
        message = f"{cluster} belongs to root, and PostgreSQL does not run as root: chown -R it"
        raise EngineError(message)
    return owner


def _owner(path: Path) -> Account | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    try:
        name = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        name = f"uid {status.st_uid}"
    return Account(name, status.st_uid, status.st_gid)


def _first(names: Sequence[str]) -> Account:
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    message = (
        f"PostgreSQL does not run as root, and there is no account {' or '.join(names)} to run it "
        "as: create one, or start this as an ordinary user"
    )
    raise EngineError(message)


def find_inaccessible_part(path: Path, account: Account) -> Path | None:
    """The first part of ``path`` that ``account`` may not enter or execute, or None."""
    path = path.resolve()
    for part in (*reversed(path.parents), path):
        if not may_execute(part.stat(), account):
            return part
    return None


def may_execute(status: os.stat_result, account: Account) -> bool:
    """Whether the account may enter this folder or execute this file.

    By the mode only: access control lists may allow more, and then a copy is made needlessly.
    """
    if status.st_uid == account.uid:
        wanted = stat.S_IXUSR
    elif status.st_gid == account.gid:
        wanted = stat.S_IXGRP
    else:
        wanted = stat.S_IXOTH
    return bool(status.st_mode & wanted)
