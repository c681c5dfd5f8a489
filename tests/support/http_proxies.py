"""Proxies in front of a service's HTTP port, configured as people have them: nginx and HAProxy."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_PATIENCE = 10.0
_PATHS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
# As it is without any thought: HTTP/1.0 to the service, a connection for each request, buffers.
_NGINX_PLAIN = """
      proxy_pass http://{upstream};
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
"""
_NGINX_TUNED = """
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
"""
_NGINX = """
{account}
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
  client_max_body_size 4m;
  gzip on;
  gzip_types application/json;
  gzip_min_length 100;
  upstream service {{ server {upstream}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{{location}}}
  }}
}}
"""
_HAPROXY = """
global
  log stderr local0 warning
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option forwardfor
  option http-keep-alive
  compression algo gzip
  compression type application/json
frontend proxy
  bind 127.0.0.1:{port}
  default_backend service
backend service
  server one {upstream}
"""


@dataclass(frozen=True)
class Proxy:
    """A kind of proxy. ``configuration`` has places for folder, port and upstream."""

    id: str
    program: str
    configuration: str
    arguments: tuple[str, ...]


PROXIES = (
    Proxy("nginx as it comes", "nginx", _NGINX.replace("{location}", _NGINX_PLAIN), ("-c",)),
    Proxy("nginx with keep-alive", "nginx", _NGINX.replace("{location}", _NGINX_TUNED), ("-c",)),
    Proxy("haproxy", "haproxy", _HAPROXY, ("-db", "-f")),
)


@contextmanager
def proxy_before(proxy: Proxy, upstream: str, folder: Path) -> Generator[str]:
    """The address of a proxy before ``upstream``; the test is skipped without its program."""
    program = shutil.which(proxy.program, path=_PATHS)
    if program is None:
        pytest.skip(f"{proxy.program} is not installed (Debian: apt-get install {proxy.program})")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "configuration"
    # Its own account could not write into the test's folder.
    account = "user root root;" if os.getuid() == 0 else ""
    file.write_text(
        proxy.configuration.format(folder=folder, port=port, upstream=upstream, account=account)
    )
    command = [program, *proxy.arguments, str(file)]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
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
            raise AssertionError(f"the proxy does not listen: {process.communicate()[1]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
