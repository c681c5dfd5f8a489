"""The service as an ASGI application: ``uvicorn myservice.asgi:app``.

Importing this module builds nothing: the first access to ``app`` (PEP 562) reads the environment
and wires the service, and the lifespan protocol starts and stops it. Timeouts and limits of
connections are those of the foreign server. ``myservice serve`` has a server of its own.
"""

from myservice.cli import SERVICE
from paceline.commands import new_asgi_app
from paceline.http import App


def __getattr__(name: str) -> App:
    if name != "app":
        raise AttributeError(name)
    app = globals()["app"] = new_asgi_app(SERVICE)
    return app
