"""The service under any ASGI server: ``uvicorn myservice.asgi:app``.

Nothing is built by importing this module; asking for ``app`` reads the environment and wires the
service, and the server's lifespan starts and stops it (PEP 562). Timeouts and limits of
connections are then that server's business. ``myservice serve`` is the ordinary way.
"""

from myservice.cli import SERVICE
from paceline.commands import new_asgi_app
from paceline.http import App


def __getattr__(name: str) -> App:
    if name != "app":
        raise AttributeError(name)
    app = globals()["app"] = new_asgi_app(SERVICE)
    return app
