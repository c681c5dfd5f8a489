"""The commands that every service has, and what they stand on.

A service states its name, its settings, its wiring and its own checks (`ServiceSpec`); `new_cli`
makes its program of that. `Wiring` is where the parts of a process are registered.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.commands.asgi import new_asgi_app
    from paceline.commands.cli import list_commands, new_cli
    from paceline.commands.clients import add_nats, add_postgres, add_redis
    from paceline.commands.file_output import whole_file
    from paceline.commands.gc import tune_gc
    from paceline.commands.grpc_server import RpcHandler, serve_grpc
    from paceline.commands.http_server import (
        HttpHandler,
        api_group,
        serve_api,
        serve_docs,
        serve_http,
    )
    from paceline.commands.ingress import Ingress, new_ingress
    from paceline.commands.instance import Instance, find_instance
    from paceline.commands.lazy import USAGE, LazyCommand, LazyProgram
    from paceline.commands.one_off import get_settings, load_for, run_once
    from paceline.commands.options import (
        ConfigFile,
        DatabaseUrl,
        DataDir,
        fail,
        load_or_fail,
        with_flags,
    )
    from paceline.commands.process import run_process, wire
    from paceline.commands.run import Development
    from paceline.commands.settings import (
        AuthSettings,
        GrpcSettings,
        HttpSettings,
        NatsSettings,
        PostgresSettings,
        RedisSettings,
        ServiceSettings,
    )
    from paceline.commands.spec import ServiceSpec
    from paceline.commands.token import new_token
    from paceline.commands.wiring import Process, ProcessSpec, Wiring
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "AuthSettings": "settings",
            "ConfigFile": "options",
            "DataDir": "options",
            "DatabaseUrl": "options",
            "Development": "run",
            "GrpcSettings": "settings",
            "HttpSettings": "settings",
            "HttpHandler": "http_server",
            "Ingress": "ingress",
            "Instance": "instance",
            "LazyCommand": "lazy",
            "LazyProgram": "lazy",
            "NatsSettings": "settings",
            "PostgresSettings": "settings",
            "Process": "wiring",
            "ProcessSpec": "wiring",
            "RedisSettings": "settings",
            "RpcHandler": "grpc_server",
            "ServiceSettings": "settings",
            "ServiceSpec": "spec",
            "USAGE": "lazy",
            "Wiring": "wiring",
            "add_nats": "clients",
            "add_postgres": "clients",
            "add_redis": "clients",
            "api_group": "http_server",
            "wire": "process",
            "fail": "options",
            "find_instance": "instance",
            "get_settings": "one_off",
            "list_commands": "cli",
            "load_for": "one_off",
            "load_or_fail": "options",
            "new_asgi_app": "asgi",
            "new_cli": "cli",
            "new_ingress": "ingress",
            "new_token": "token",
            "run_once": "one_off",
            "run_process": "process",
            "serve_api": "http_server",
            "serve_docs": "http_server",
            "serve_grpc": "grpc_server",
            "serve_http": "http_server",
            "tune_gc": "gc",
            "whole_file": "file_output",
            "with_flags": "options",
        },
    )

__all__ = [
    "USAGE",
    "AuthSettings",
    "ConfigFile",
    "DataDir",
    "DatabaseUrl",
    "Development",
    "GrpcSettings",
    "HttpHandler",
    "HttpSettings",
    "Ingress",
    "Instance",
    "LazyCommand",
    "LazyProgram",
    "NatsSettings",
    "PostgresSettings",
    "Process",
    "ProcessSpec",
    "RedisSettings",
    "RpcHandler",
    "ServiceSettings",
    "ServiceSpec",
    "Wiring",
    "add_nats",
    "add_postgres",
    "add_redis",
    "api_group",
    "fail",
    "find_instance",
    "get_settings",
    "list_commands",
    "load_for",
    "load_or_fail",
    "new_asgi_app",
    "new_cli",
    "new_ingress",
    "new_token",
    "run_once",
    "run_process",
    "serve_api",
    "serve_docs",
    "serve_grpc",
    "serve_http",
    "tune_gc",
    "whole_file",
    "wire",
    "with_flags",
]
