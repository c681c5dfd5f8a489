"""Build the service's image without a container engine, and start it: ``make image``.

For machines that have buildah and debootstrap (Debian packages; root) and no engine. The
Dockerfile's base is not fetched: a Debian with its own Python is made by debootstrap and tagged as
that base. The image is then started as a container runtime would start it, as far as chroot can:
its user by number, its environment, its command and nothing of this machine's but the network. It
must become ready on a real PostgreSQL and NATS, and stop on SIGTERM with exit code 0. Prints the
size, the time until ready, and the memory when idle.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from paceline.engines import NatsEngine, PostgresEngine, free_ports
from paceline.log import new_logger

ROOT: Final = Path(__file__).parent.parent
CACHE: Final = ROOT / "bench/.cache/images"
SUITE: Final = "bookworm"
PYTHON: Final = "3.11"  # of that suite
BASE: Final = f"docker.io/library/python:{PYTHON}-slim"
IMAGE: Final = "localhost/myservice"
STORAGE: Final = ("--root", str(CACHE / "storage"), "--storage-driver", "vfs")
CHROOT: Final = shutil.which("chroot") or "/usr/sbin/chroot"  # found here, not in the image
PACKAGES: Final = "python3-minimal,python3-venv,ca-certificates"
SECRET: Final = "an image that is tried has a secret that nobody else uses"  # noqa: S105 - as it says


def main() -> None:
    """Errors: SystemExit says what is missing or wrong."""
    for program in ("buildah", "debootstrap"):
        if shutil.which(program) is None:
            raise SystemExit(f"no {program}: apt install {program}")
    if os.geteuid():
        raise SystemExit("making a file system of another user's files needs root")
    CACHE.mkdir(parents=True, exist_ok=True)
    make_base()
    build()
    try_it()


def make_base() -> None:
    """What the Dockerfile calls its base, unless it is there."""
    if buildah("images", "--quiet", BASE, check=False).stdout.strip():
        return
    with tempfile.TemporaryDirectory(dir=CACHE) as made:
        say(f"making a base of Debian {SUITE} …")
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, made)
        Path(made, "usr/local/bin/python").symlink_to("/usr/bin/python3")
        for folder in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc"):
            shutil.rmtree(Path(made, folder))
        container = buildah("from", "scratch").stdout.strip()
        buildah("add", "--quiet", container, made, "/")
        buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
        buildah("commit", "--quiet", "--rm", container, BASE)


def build() -> None:
    """The image, of the Dockerfile and a wheel of the kit."""
    with tempfile.TemporaryDirectory() as made:
        context = Path(made)
        run("git", "archive", "--output", f"{made}/service.tar", "HEAD", "service")
        run("tar", "xf", f"{made}/service.tar", "--strip-components=1", cwd=context)
        (context / "wheels").mkdir()
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d",
            str(context / "wheels"), cwd=ROOT / "kit")  # fmt: skip
        began = time.monotonic()
        buildah(
            "build", "--quiet", "--isolation", "chroot", "--pull-never", "--network", "host",
            "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro",
            "--build-arg", f"PYTHON={PYTHON}", "--file", str(context / "deployments/Dockerfile"),
            "--tag", IMAGE, "--format", "docker", str(context),
        )  # fmt: skip
    say(f"built in {time.monotonic() - began:.0f} s")


def try_it() -> None:
    """Start its command in its file system."""
    config = json.loads(buildah("inspect", "--type", "image", IMAGE).stdout)["Docker"]["config"]
    with ExitStack() as stack:
        container = buildah("from", "--pull-never", IMAGE).stdout.strip()
        stack.callback(buildah, "rm", container)
        mounted = Path(buildah("mount", container).stdout.strip())
        stack.callback(buildah, "umount", container)
        size = run("du", "-sm", "--apparent-size", str(mounted)).stdout.split()[0]
        base = buildah("from", "--pull-never", BASE).stdout.strip()
        stack.callback(buildah, "rm", base)
        of_base = run("du", "-sm", "--apparent-size", buildah("mount", base).stdout.strip()).stdout
        stack.callback(buildah, "umount", base)
        say(f"image: {size} MB, of which the base has {of_base.split()[0]}")
        urls = stack.enter_context(engines())
        environment = dict(one.split("=", 1) for one in config["Env"]) | urls
        migrate = start(mounted, config, environment, ["migrate", "up"])
        if migrate.wait(60):
            raise SystemExit("migrate up failed")
        began = time.monotonic()
        serve = start(mounted, config, environment, config["Cmd"])
        stack.callback(serve.kill)
        ready = wait_until_ready(serve, environment)
        say(f"ready after {ready - began:.2f} s")
        time.sleep(2.0)
        status = Path(f"/proc/{serve.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        if fields["Uid"].split() != [config["User"].split(":")[0]] * 4:
            raise SystemExit(f"it runs as {fields['Uid']}")
        say(f"idle: {int(fields['VmRSS'].split()[0]) / 1024:.0f} MB, user {config['User']}")
        check = start(mounted, config, environment, config["Healthcheck"]["Test"][1:], entry=False)
        if check.wait(20):
            raise SystemExit("its health check fails")
        serve.send_signal(signal.SIGTERM)
        if code := serve.wait(60):
            raise SystemExit(f"it ended with {code} on SIGTERM")
        say("health check and SIGTERM: 0")


@contextmanager
def engines() -> Generator[dict[str, str]]:
    """PostgreSQL and NATS on 127.0.0.1, as settings of the service."""
    with tempfile.TemporaryDirectory() as made, asyncio.Runner() as runner:
        folder = Path(made)
        log = new_logger("warning", stream=sys.stderr)
        pg_port, nats_port, http, grpc, admin = free_ports(5)
        postgres = PostgresEngine(log, data_dir=folder / "postgres", port=pg_port)
        nats = NatsEngine(log, data_dir=folder / "nats", port=nats_port)
        runner.run(postgres.start())
        runner.run(nats.start())
        try:
            yield {
                "APP_DATABASE_URL": postgres.tcp_dsn(), "APP_NATS_URL": nats.url,
                "APP_JWT_SECRET": SECRET, "APP_PORT": str(http), "APP_GRPC_PORT": str(grpc),
                "APP_ADMIN_PORT": str(admin),
            }  # fmt: skip
        finally:
            runner.run(nats.stop())
            runner.run(postgres.stop())


def start(
    root: Path, config: dict[str, Any], environment: dict[str, str], command: list[str],
    *, entry: bool = True,
) -> "subprocess.Popen[bytes]":  # fmt: skip
    """Run a command in the image's file system, as its user."""
    user, _, group = config["User"].partition(":")
    words = [*config["Entrypoint"], *command] if entry else command
    return subprocess.Popen(  # noqa: S603 - the image's own command
        [CHROOT, f"--userspec={user}:{group or user}", str(root), *words],
        env=environment, start_new_session=True,
    )  # fmt: skip


def wait_until_ready(serve: "subprocess.Popen[bytes]", environment: dict[str, str]) -> float:
    """The time at which it was. Errors: SystemExit when it ends first, or takes a minute."""
    url = f"http://127.0.0.1:{environment['APP_PORT']}/ready"
    for _ in range(1200):
        if serve.poll() is not None:
            break
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return time.monotonic()
        time.sleep(0.05)
    raise SystemExit(f"not ready: exit code {serve.poll()}")


def buildah(*words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run it on storage of our own."""
    return run("buildah", *STORAGE, *words, check=check)


def run(*command: str, cwd: Path = ROOT, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Errors: SystemExit with what the command said."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603 - our own list
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done


def say(line: str) -> None:
    """Print it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
