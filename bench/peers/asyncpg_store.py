"""Records and transfers with asyncpg as it is commonly used: a pool, one query a call.

A transfer locks "from" and then "to", as the Go reference service does.
"""

import json
from datetime import UTC, datetime

import asyncpg
from stack import DATABASE_URL, POOL, Refused, uuid7
from telemetry import queried

COLUMNS = "id, name, metadata, data, version, created_at, updated_at"
GET = f"SELECT {COLUMNS} FROM records WHERE id = $1"
LOCK = "SELECT owner, balance FROM accounts WHERE id = $1 FOR UPDATE"


async def _prepare(connection):
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(
            kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
        )


class Store:
    """The pool and its queries."""

    async def start(self):
        """Connect."""
        self.pool = await asyncpg.create_pool(
            DATABASE_URL, min_size=2, max_size=POOL, init=_prepare
        )

    async def stop(self):
        """Disconnect."""
        await self.pool.close()

    async def get(self, record_id):
        """One record."""
        with queried(GET):
            row = await self.pool.fetchrow(GET, record_id)
        if row is None:
            raise Refused(404, "record not found")
        return dict(row)

    async def list(self, limit):
        """A page and whether there is more."""
        rows = await self.pool.fetch(
            f"SELECT {COLUMNS} FROM records ORDER BY id LIMIT $1", limit + 1
        )
        found = [dict(row) for row in rows]
        return found[:limit], len(found) > limit

    async def insert(self, name, metadata, data):
        """A new record."""
        now = datetime.now(UTC)
        row = await self.pool.fetchrow(
            f"INSERT INTO records ({COLUMNS}) VALUES ($1, $2, $3, $4, 1, $5, $5)"
            f" RETURNING {COLUMNS}",
            uuid7(),
            name,
            metadata,
            data,
            now,
        )
        return dict(row)

    async def transfer(self, subject, request):
        """Move an amount."""
        async with self.pool.acquire() as connection, connection.transaction():
            one = await connection.fetchrow(LOCK, request["from"])
            other = await connection.fetchrow(LOCK, request["to"])
            if one is None or other is None:
                raise Refused(404, "account not found")
            if one["owner"] != subject:
                raise Refused(403, "the account is somebody else's")
            if one["balance"] < request["amount"]:
                raise Refused(409, "insufficient balance")
            made = request | {
                "id": uuid7(),
                "from_balance": one["balance"] - request["amount"],
                "to_balance": other["balance"] + request["amount"],
                "created_at": datetime.now(UTC),
            }
            update = "UPDATE accounts SET balance = $2 WHERE id = $1"
            await connection.execute(update, made["from"], made["from_balance"])
            await connection.execute(update, made["to"], made["to_balance"])
            await connection.execute(
                "INSERT INTO transfers (id, from_id, to_id, amount, reference, from_balance,"
                " to_balance, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                made["id"],
                made["from"],
                made["to"],
                made["amount"],
                made["reference"],
                made["from_balance"],
                made["to_balance"],
                made["created_at"],
            )
            return made
