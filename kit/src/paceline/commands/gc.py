"""The garbage collector, set for a server: it looks for cycles, and a request leaves none.

Python counts references, so what a request makes is gone with it; the collector only finds what
refers to itself. Left as it is, it runs every 700 new objects, and a busy server holds thousands
at any moment: it walked over them many times a second and found nothing, for an eighth of the
server's processor time. Called once a process, by the command line, when everything is up; what
was made until then (modules, routes, caches) stays for good and is not looked at again.
"""

import gc
from typing import Final

# Net new objects before a look at the young ones: more than a wave of requests keeps at a time.
_YOUNG: Final = 20_000


def tune_gc() -> None:
    """Take everything that is there as permanent, and collect in larger steps."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
