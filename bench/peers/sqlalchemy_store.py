"""Records and transfers with SQLAlchemy's ORM and asyncpg, as the common FastAPI template has it.

A transfer locks "from" and then "to", as the Go reference service does.
"""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Text, select
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from stack import DATABASE_URL, POOL, Refused, uuid7

TIME = DateTime(timezone=True)


class Base(DeclarativeBase):
    """The models."""


class Record(Base):
    """A record."""

    __tablename__ = "records"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    metadata_: Mapped[dict] = mapped_column("metadata", JSONB)
    data: Mapped[dict] = mapped_column(JSON)
    version: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(TIME)
    updated_at: Mapped[datetime] = mapped_column(TIME)

    def plain(self):
        """As the API shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "metadata": self.metadata_,
            "data": self.data,
            "version": self.version,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


class Account(Base):
    """An account."""

    __tablename__ = "accounts"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(Text)
    balance: Mapped[int] = mapped_column(BigInteger)


class Transfer(Base):
    """An entry of the ledger."""

    __tablename__ = "transfers"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    from_id: Mapped[UUID]
    to_id: Mapped[UUID]
    amount: Mapped[int] = mapped_column(BigInteger)
    reference: Mapped[str] = mapped_column(Text)
    from_balance: Mapped[int] = mapped_column(BigInteger)
    to_balance: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(TIME)


class Store:
    """The sessions and their queries."""

    async def start(self):
        """Make the engine."""
        url = DATABASE_URL.replace("postgresql://", "postgresql+asyncpg://", 1)
        url = url.replace("sslmode=", "ssl=")
        self.engine = create_async_engine(url, pool_size=POOL, max_overflow=0)
        self.session = async_sessionmaker(self.engine, expire_on_commit=False)

    async def stop(self):
        """Disconnect."""
        await self.engine.dispose()

    async def get(self, record_id):
        """One record."""
        async with self.session() as session:
            found = await session.get(Record, record_id)
        if found is None:
            raise Refused(404, "record not found")
        return found.plain()

    async def list(self, limit):
        """A page and whether there is more."""
        async with self.session() as session:
            found = await session.scalars(select(Record).order_by(Record.id).limit(limit + 1))
            plain = [record.plain() for record in found]
        return plain[:limit], len(plain) > limit

    async def insert(self, name, metadata, data):
        """A new record."""
        now = datetime.now(UTC)
        made = Record(
            id=uuid7(),
            name=name,
            metadata_=metadata,
            data=data,
            version=1,
            created_at=now,
            updated_at=now,
        )
        async with self.session() as session, session.begin():
            session.add(made)
        return made.plain()

    async def transfer(self, subject, request):
        """Move an amount."""
        async with self.session() as session, session.begin():
            one = await session.get(Account, request["from"], with_for_update=True)
            other = await session.get(Account, request["to"], with_for_update=True)
            if one is None or other is None:
                raise Refused(404, "account not found")
            if one.owner != subject:
                raise Refused(403, "the account is somebody else's")
            if one.balance < request["amount"]:
                raise Refused(409, "insufficient balance")
            one.balance -= request["amount"]
            other.balance += request["amount"]
            made = Transfer(
                id=uuid7(),
                from_id=request["from"],
                to_id=request["to"],
                amount=request["amount"],
                reference=request["reference"],
                from_balance=one.balance,
                to_balance=other.balance,
                created_at=datetime.now(UTC),
            )
            session.add(made)
        return request | {
            "id": made.id,
            "from_balance": made.from_balance,
            "to_balance": made.to_balance,
            "created_at": made.created_at,
        }
