"""Import a million lines, killed in the middle: nothing lost, nothing doubled, memory flat.

Makes the file (one line in a thousand is bad), starts a durable PostgreSQL of its own, runs
``myservice records import``, kills it with SIGKILL near the middle, runs it again, and compares
what is there with what was in the file. Memory is that of the whole process tree. Writes
``bench/results/import.md``. Run it with ``make import``; ``--quick`` for a short one.
"""

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
from database import running_database, say, scratch

from myservice.cli import SERVICE
from paceline.postgres.migrate import SchemaUpgrade

HERE = Path(__file__).parent
BAD = 1000
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEBIBYTE = 1 << 20
# Seconds between two looks; a short run is looked at often, to be caught in its middle.
_LOOK, _QUICK_LOOK = 0.2, 0.02
_SHORT = 100_000


def write_file(path: Path, lines: int) -> None:
    """Lines as an API's client would have sent them."""
    with path.open("w") as file:
        for n in range(1, lines + 1):
            if n % BAD:
                file.write(
                    f'{{"name": "record {n} of the spring collection",'
                    f' "metadata": {{"colour": "blue", "region": "north"}},'
                    f' "data": {{"quantity": {n % 99}, "price": {1000 + n}}}}}\n'
                )
            else:
                file.write('{"name": ""}\n')


def lines_of(path: Path) -> int:
    """How many."""
    return len(path.read_text().splitlines())


def size_of(path: Path) -> int:
    """In bytes."""
    return path.stat().st_size


def memory_of(root: int) -> int:
    """Bytes in memory of a process and its descendants."""
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rpartition(")")[2].split()
            sizes[int(path.name)] = int((path / "statm").read_text().split()[1]) * _PAGE
            parents[int(path.name)] = int(stat[1])
        except OSError:
            continue  # it ended just now
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(sizes.get(pid, 0) for pid in family)


class Run:
    """One run of the command, and its memory over time."""

    def __init__(self, file: Path, dsn: str, look: float) -> None:
        self._look = look
        self.memory: list[int] = []
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("myservice"), "records", "import", file],
            env={**os.environ, "APP_DATABASE_URL": dsn}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    async def until(self, session: asyncpg.Connection, lines: float) -> None:
        """Watch until it ended, or until so many lines are in."""
        while self.process.poll() is None:
            self.memory.append(memory_of(self.process.pid))
            done = await session.fetchval("SELECT coalesce(sum(lines), 0) FROM import_chunks")
            if done >= lines:
                return
            await asyncio.sleep(self._look)

    def peaks(self) -> tuple[float, float]:
        """The peak in MiB of the first half of the run, and of the second."""
        half = max(1, len(self.memory) // 2)
        first, second = self.memory[:half], self.memory[half:] or self.memory
        return max(first) / _MEBIBYTE, max(second) / _MEBIBYTE


async def measure(lines: int, folder: Path) -> str:
    """The findings as Markdown. Errors: SystemExit when something is lost or doubled."""
    file = folder / "records.ndjson"
    await asyncio.to_thread(write_file, file, lines)
    async with running_database(folder / "db") as database:
        await SchemaUpgrade(database.dsn, SERVICE.get_migrations()).start()
        session = await asyncpg.connect(database.dsn)
        try:
            return await _killed_and_resumed(file, lines, database.dsn, session)
        finally:
            await session.close()


async def _killed_and_resumed(file: Path, lines: int, dsn: str, session: asyncpg.Connection) -> str:
    look = _LOOK if lines > _SHORT else _QUICK_LOOK
    first = Run(file, dsn, look)
    await first.until(session, lines / 2)
    first.process.send_signal(signal.SIGKILL)
    first.process.communicate()
    if first.process.returncode != -signal.SIGKILL:
        raise SystemExit(f"it ended by itself, with {first.process.returncode}, before the kill")
    halfway = await session.fetchval("SELECT count(*) FROM records")
    second = Run(file, dsn, look)
    await second.until(session, float("inf"))
    said = second.process.communicate()[1]
    say(said)
    records = await session.fetchval("SELECT count(*) FROM records")
    names = await session.fetchval("SELECT count(DISTINCT name) FROM records")
    rejects = lines_of(file.with_name(file.name + ".rejects"))
    wanted = lines - lines // BAD
    if (records, names, rejects) != (wanted, wanted, lines // BAD):
        raise SystemExit(f"LOST OR DOUBLED: {records} records, {names} names, {rejects} rejects")
    rate = re.findall(r": ([\d,]+) lines/s", said)[-1]
    one, other = second.peaks()
    return (
        f"{lines:,} lines, {size_of(file) / _MEBIBYTE:.0f} MiB: killed with SIGKILL when"
        f" {halfway:,} records were in, then run again.\n\n"
        f"- afterwards: {records:,} records, all distinct, and {rejects:,} rejected lines:"
        " nothing lost, nothing doubled\n"
        f"- {rate} lines/s (the second run, on cores shared with PostgreSQL)\n"
        f"- memory of all its processes, peak of each half of the second run: {one:.0f} MiB,"
        f" {other:.0f} MiB\n"
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 lines, nothing written")
    options = parser.parse_args()
    with scratch() as folder:
        text = asyncio.run(measure(20_000 if options.quick else options.lines, folder))
    sys.stdout.write(text)
    if options.quick:
        return
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results/import.md").write_text("`make import`. " + text)


if __name__ == "__main__":
    main()
