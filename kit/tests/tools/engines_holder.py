"""Run an embedded NATS and an embedded Redis together, say their processes, wait for ever.

To be killed at any moment. ``python engines_holder.py FOLDER``; the one line of the output is the
two pids. Used by test_engine_servers_killed.
"""

import asyncio
import sys
from pathlib import Path

from paceline.engines import EngineGroup, NatsEngine, RedisEngine
from paceline.testing import RecordingLog


async def main(folder: Path) -> None:
    """Hold them until killed."""
    nats = NatsEngine(RecordingLog(), data_dir=folder / "nats")
    redis = RedisEngine(RecordingLog(), data_dir=folder / "redis")
    together = EngineGroup([nats, redis])
    await together.start()
    sys.stdout.write(f"{nats.pid} {redis.pid}\n")
    sys.stdout.flush()
    await together.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
