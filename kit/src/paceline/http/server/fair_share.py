"""Processes that accept from one socket share its clients evenly.

The kernel wakes all of them for each client and gives it to the fastest, so by chance one process
may get twice as many connections as another, and keep them. So each process writes its number of
connections into memory that all of them have, and takes a client only while it has no more than the
one with the fewest, and a little slack. One that is due and does not accept (it is busy or stopped)
keeps a client waiting for three milliseconds, and the next ones for one; after sixteen of them it
no longer counts, until it shows life.

Rejected: a socket for each process (SO_REUSEPORT), which divides by the clients' addresses and
loses what waits at a process that ends; passing connections on, which costs more than it gains.
"""

import mmap
import os
import socket
import tempfile
from dataclasses import dataclass
from math import inf
from typing import Final

_OPEN, _BEAT, _ACTIVE = 0, 1, 2  # the cells of a slot
_CELLS: Final = 3
_CELL_BYTES: Final = 4
# Seconds: before the first client is accepted out of turn, and between two of them.
_PATIENCE: Final = 0.003
_PAUSE: Final = 0.001
_MISSES: Final = 16  # after which a process that shows no life does not count
_PART: Final = 16  # the slack is a sixteenth of what each has, at least one connection
_UNSEEN: Final = 4  # clients accepted in a row while no other process shows life


class ConnectionTable:
    """A slot for each process, in a file without a name whose descriptor the processes inherit.

    Invariant: a slot has one writer, the process that has it; whoever gave it out clears it when
    that process has ended.

    *Resources*: the memory, and the file if it was made here, until `close`.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._memory = mmap.mmap(handle, 0)
        self.cells: memoryview = memoryview(self._memory).cast("I")
        self.slots: int = len(self.cells) // _CELLS

    @classmethod
    def create(cls, slots: int) -> "ConnectionTable":
        """An empty table."""
        size = slots * _CELLS * _CELL_BYTES
        if hasattr(os, "memfd_create"):
            handle = os.memfd_create("connections")
        else:
            with tempfile.TemporaryFile() as file:
                handle = os.dup(file.fileno())
        try:
            os.ftruncate(handle, size)
            return cls(handle)
        except BaseException:
            os.close(handle)
            raise

    def fileno(self) -> int:
        """The descriptor to hand over."""
        return self._handle

    def clear(self, slot: int) -> None:
        """The process that had ``slot`` has ended."""
        self.cells[slot * _CELLS + _OPEN] = self.cells[slot * _CELLS + _ACTIVE] = 0

    def close(self) -> None:
        """Give up the memory and the file."""
        self.cells.release()
        self._memory.close()
        os.close(self._handle)


class FairShare:
    """One process's view of the table: whether it is its turn to accept.

    *Resources*: the table, until `close`.
    """

    def __init__(self, table: ConnectionTable, slot: int) -> None:
        self._table = table
        self._cells = table.cells
        self._own = slot * _CELLS
        self._others = [at * _CELLS for at in range(table.slots) if at != slot]
        self._taken = 0  # since another process has shown life
        self._lives = 0  # the sum of the others' beats
        self._waiting_since = inf
        self._last = -inf  # when this process accepted out of turn
        self._missed: dict[int, tuple[int, int]] = {}  # at which beat, and how many turns

    def join(self) -> None:
        """This process accepts connections from now on; may be repeated."""
        self._cells[self._own + _ACTIVE] = 1

    def leave(self) -> None:
        """It accepts no more; the others need not wait for it."""
        self._cells[self._own + _ACTIVE] = 0

    def close(self) -> None:
        """Give up the memory."""
        self.leave()
        self._table.close()

    def publish(self, count: int) -> None:
        """Tell the others how many connections this process has, and that it is alive."""
        cells, own = self._cells, self._own
        cells[own + _OPEN] = count
        cells[own + _BEAT] = (cells[own + _BEAT] + 1) & 0xFFFFFFFF

    def is_due(self, count: int, now: float) -> bool:
        """Whether to accept one more, with ``count`` connections already; ``now`` in seconds.

        Ask again soon when it is not, as long as a client waits; `reset` when none does.
        """
        self.publish(count)
        cells = self._cells
        others = [at for at in self._others if cells[at + _ACTIVE] and not self._stopped(at)]
        if not others:
            self._waiting_since = inf
            return True
        lives = sum(cells[at + _BEAT] for at in others)
        if lives != self._lives:
            self._lives, self._taken = lives, 0
        has = [cells[at + _OPEN] for at in others]
        slack = max(1, (sum(has) + count) // (_PART * (len(has) + 1)))
        # What others have is old news until they show life.
        if count <= min(has) + slack and self._taken < _UNSEEN:
            self._waiting_since = inf
            self._taken += 1
            return True
        if self._waiting_since == inf:
            self._waiting_since = now
        if now - self._waiting_since < _PATIENCE or now - self._last < _PAUSE:
            return False
        self._last = now
        for at in others:
            beat, misses = self._missed.get(at, (-1, 0))
            seen = cells[at + _BEAT]
            self._missed[at] = seen, misses + 1 if beat == seen else 1
        return True

    def reset(self) -> None:
        """No client waits any more: another process has taken it."""
        self._waiting_since = inf

    def _stopped(self, at: int) -> bool:
        """Whether this one has let many clients wait, and shown no life since."""
        beat, misses = self._missed.get(at, (-1, 0))
        return misses >= _MISSES and beat == self._cells[at + _BEAT]


@dataclass(frozen=True, slots=True)
class SharedListener:
    """A listening socket that other processes have, too; ``share`` is None for one that is alone.

    *Resources*: both, which whoever accepts from it takes over.
    """

    socket: socket.socket
    share: FairShare | None = None
