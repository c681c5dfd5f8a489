"""The service wired in this process, as its commands do it, with the settings of a test."""

from myservice.cli import SERVICE
from myservice.config import Config
from paceline.commands import Process, ProcessSpec, wire
from paceline.http import HttpServer
from paceline.testing import TEST_SECRET, RecordingLog


def config_on(dsn: str, **settings: object) -> Config:
    """Settings on a database, with a few connections and free ports."""
    given = {
        "max_db_conns": 5,
        "port": 0,
        "grpc_port": 0,  # paceline: only grpc
        "admin_port": 0,
        **settings,
    }
    return Config.model_validate({"database_url": dsn, "jwt_secret": TEST_SECRET, **given})


def wire_service(
    config: Config, log: RecordingLog, *, listens: bool = False, works: bool = False
) -> Process:
    """What `serve` runs, or `run` when it ``works`` too; without sockets unless it ``listens``."""
    process = ProcessSpec(service=SERVICE.name, version="test", listens=listens, works=works)
    return wire(SERVICE, config, log, process)


def http_server_of(process: Process) -> HttpServer:
    """Its HTTP server."""
    server = process.servers["http"]
    assert isinstance(server, HttpServer)
    return server
