"""The peer FastAPI + asyncpg: ``fastapi_app`` on ``asyncpg_store``. See ``servers``."""

from asyncpg_store import Store
from fastapi_app import new_app
from stack import serve

app = new_app(Store())

if __name__ == "__main__":
    serve("fastapi_asyncpg")
