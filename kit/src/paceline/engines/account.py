"""The account an engine's server runs as, and how far that account gets.

Servers refuse root, so root lends them an unprivileged account; anybody else runs them as
themselves and nothing of that happens. The account needs a passwd entry (initdb looks itself up),
and who made a cluster goes on owning it. Rejected: creating an account of our own, and widening
folders' modes: both change the machine behind its owner's back.
Used by ``postgres`` and ``programs``; ``supervisor`` becomes the account.
"""

import os
import pwd
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from paceline.engines.errors import EngineError

CANDIDATES: Final = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account to run a server as."""

    name: str
    uid: int
    gid: int


def server_account(cluster: Path, *, names: Sequence[str] = CANDIDATES) -> Account | None:
    """Whom to run the server of ``cluster`` as; None: as ourselves.

    As root: the owner of the cluster if there is one already, else the first of ``names`` that
    exists. Errors: `EngineError` when there is nobody, or the cluster belongs to somebody else.
    """
    owner = _owner(cluster)
    ours = os.geteuid()
    if ours != 0:
        if owner is not None and owner.uid != ours:
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


def find_barrier(path: Path, account: Account) -> Path | None:
    """The first part of ``path`` that ``account`` may not pass or run; None when it gets there."""
    path = path.resolve()
    for part in (*reversed(path.parents), path):
        if not may_pass(part.stat(), account):
            return part
    return None


def may_pass(status: os.stat_result, account: Account) -> bool:
    """Whether the account may enter this folder or run this file.

    Goes by the mode only: access control lists may allow more, and then we copy once too often.
    """
    if status.st_uid == account.uid:
        wanted = stat.S_IXUSR
    elif status.st_gid == account.gid:
        wanted = stat.S_IXGRP
    else:
        wanted = stat.S_IXOTH
    return bool(status.st_mode & wanted)
