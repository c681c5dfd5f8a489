"""nginx in front of a service: gRPC by ``grpc_pass``, everything else by ``proxy_pass``."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PATIENCE = 10.0
_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream http_door {{ server {http}; keepalive 8; }}
  upstream grpc_door {{ server {grpc}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port} http2;
    location /myservice.v1. {{ grpc_pass grpc://grpc_door; }}
    location / {{
      proxy_pass http://http_door;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


@contextmanager
def nginx_before(http: str, grpc: str, folder: Path) -> Generator[str]:
    """The address of an nginx before two of a service's; the test is skipped without nginx."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, http=http, grpc=grpc, port=port))
    process = subprocess.Popen([nginx, "-c", file, "-p", folder], stderr=subprocess.PIPE, text=True)
    try:
        _until_listening(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
        process.kill()
        process.communicate()


def _until_listening(port: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"nginx does not listen: {process.communicate()[1]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
