"""The peer FastAPI + sqlalchemy: ``fastapi_app`` on ``sqlalchemy_store``. See ``servers``."""

from fastapi_app import new_app
from sqlalchemy_store import Store
from stack import serve

app = new_app(Store())

if __name__ == "__main__":
    serve("fastapi_sqlalchemy")
