"""Run an embedded NATS and an embedded Redis until killed: ``python engines_holder.py FOLDER``.

The one line of the output is the two pids.
"""

import asyncio
import sys
from pathlib import Path

from paceline.engines import EngineGroup, NatsEngine, RedisEngine
from paceline.testing import RecordingLog


async def main(folder: Path) -> None:
    """Run them until killed."""
    nats = NatsEngine(RecordingLog(), data_dir=folder / "nats")
    redis = RedisEngine(RecordingLog(), data_dir=folder / "redis")
    group = EngineGroup([nats, redis])
    await group.start()
    sys.stdout.write(f"{nats.pid} {redis.pid}\n")
    sys.stdout.flush()
    await group.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
