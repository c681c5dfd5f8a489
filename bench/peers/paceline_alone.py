"""The service with its coalesced read taken out: each GET is a statement of its own.

All else is the same, so the difference between the two is what coalescing brings at many
connections and what it costs at one. Nothing is gathered for writes here: only GET is measured.
"""

from typing import Final
from uuid import UUID

from myservice import cli, main
from myservice.domain.records import Record, RecordNotFound
from myservice.repository.records import PgRecords

_GET: Final = (
    "SELECT id, name, metadata, data, version, created_at, updated_at FROM records WHERE id = $1"
)


class Alone(PgRecords):
    """Records, read one by one. Built as its parent is, whatever that takes."""

    async def get(self, record_id: UUID) -> Record:
        """One record, one statement. Errors: RecordNotFound."""
        row = await self._pool.fetchrow(_GET, record_id)
        if row is None:
            raise RecordNotFound
        (record,) = self._items([row])
        return record


if __name__ == "__main__":
    main.PgRecords = Alone  # type: ignore[misc]
    cli.main()
