"""``breakpoint()`` in a service that runs on a terminal.

The loop stands still while the debugger's prompt is open. Python's own debugger takes Ctrl-C for
itself once it has continued, so that a service that was debugged could not be stopped by it any
more; here Ctrl-C stops the service, also at the prompt.
"""

import os
import pdb  # noqa: T100 - it is what this is about
import signal
import sys
import threading
from inspect import currentframe
from types import FrameType
from typing import Any


def use_debugger() -> None:
    """Have ``breakpoint()`` open it, unless ``PYTHONBREAKPOINT`` names another one."""
    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = _stop_here


def _stop_here(*_arguments: object, **_options: object) -> None:
    frame = currentframe()
    Debugger().set_trace(frame.f_back if frame is not None else None)


class Debugger(pdb.Pdb):
    """Python's debugger without its handling of Ctrl-C."""

    def __init__(self) -> None:
        super().__init__(nosigint=True)

    def cmdloop(self, intro: Any | None = None) -> None:
        """Show the prompt until a command continues; Ctrl-C continues and stops the process."""
        if threading.current_thread() is not threading.main_thread():
            super().cmdloop(intro)
            return
        before = signal.signal(signal.SIGINT, _interrupt)
        try:
            super().cmdloop(intro)
        except KeyboardInterrupt:
            self.message("")
            self.set_continue()
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
