"""The peer FastAPI + asyncpg: ``fastapi_app`` on ``asyncpg_store``. See ``servers``."""

from asyncpg_store import Store
from fastapi_app import new_app
from stack import serve
from telemetry import instrumented

app = instrumented(new_app(Store()), "fastapi-peer")

if __name__ == "__main__":
    serve("fastapi_asyncpg")
