"""The garbage collector, set for a server: it looks for cycles, and a request leaves none.

Python counts references, so what a request makes is freed with it; the collector only finds
cycles. By default it runs every 700 new objects, and a busy server holds thousands at any moment:
it walked over them many times a second and found nothing, for an eighth of the server's CPU time.
What exists at the call (modules, routes, caches) is kept for good and never walked again.
"""

import gc
from typing import Final

# New objects before a young collection: more than the requests in flight hold together.
_YOUNG: Final = 20_000


def tune_gc() -> None:
    """Treat what exists as permanent, and collect less often; to be called once, when ready."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
