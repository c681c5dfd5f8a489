"""Real servers inside our own process tree, for ``run`` and for tests: nobody has to install one.

Invariants: a server goes when we go, however we go; its data stays where it was told to; one
process at a time on a data folder; nothing on the machine is widened or created besides.
``main`` hands an engine to the lifecycle as its first service, ``paceline.testing`` starts one for
a test session; ``serve``, ``worker`` and ``migrate`` never do. Read ``postgres`` first.
"""

from paceline.engines.errors import EngineError
from paceline.engines.postgres import EngineLog, PostgresEngine

__all__ = ["EngineError", "EngineLog", "PostgresEngine"]
