"""Run an embedded PostgreSQL, write rows until killed, print each acknowledged number.

``python postgres_writer.py DATA_DIR``; the first lines of the output are "starting" and "up" with
the number of rows that were there already.
"""

import asyncio
import sys
from pathlib import Path

from paceline.engines import PostgresEngine
from paceline.postgres.connector import connect
from paceline.testing import RecordingLog


async def main(folder: Path) -> None:
    """Write until killed."""
    engine = PostgresEngine(RecordingLog(), data_dir=folder)
    sys.stdout.write("starting\n")
    sys.stdout.flush()
    await engine.start()
    connection = await connect(engine.dsn())
    await connection.execute("CREATE TABLE IF NOT EXISTS t (n int PRIMARY KEY)")
    number: int = await connection.fetchval("SELECT count(*) FROM t")
    sys.stdout.write(f"up {number}\n")
    while True:
        number += 1
        await connection.execute("INSERT INTO t VALUES ($1)", number)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
