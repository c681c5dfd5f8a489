"""TLS through the command line: wrong files, renewal, SIGHUP, several processes, the admin port."""

import asyncio
import json
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from processes import ServiceCommand, free_port
from service_process import MYSERVICE, PATIENCE, environment, running_service

from paceline.testing import TEST_SECRET, CertificateAuthority, CertificateFiles

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

AGAIN = "TLS certificate read again"
UNUSABLE = "TLS files cannot be used: the old ones stay in use"


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path)


@pytest.fixture
def public(authority: CertificateAuthority) -> CertificateFiles:
    return authority.issue("public")


@pytest.fixture
def admin(authority: CertificateAuthority) -> CertificateFiles:
    return authority.issue("admin", hosts=("admin.example",))


def settings_of(public: CertificateFiles, admin: CertificateFiles) -> dict[str, str]:
    return {
        "APP_TLS_CERT": str(public.certificate),
        "APP_TLS_KEY": str(public.key),
        "APP_ADMIN_TLS_CERT": str(admin.certificate),
        "APP_ADMIN_TLS_KEY": str(admin.key),
    }


def myservice(*words: str, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [MYSERVICE, *words], env=environment(**variables), cwd=cwd,
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


GIVEN = {
    "APP_DATABASE_URL": "postgresql://app:hunter2@127.0.0.1:1/app", "APP_JWT_SECRET": TEST_SECRET,
}  # fmt: skip


@pytest.mark.parametrize("workers", ["1", "2"])
def test_all_wrong_files_are_listed_with_their_settings(
    workers: str, authority: CertificateAuthority, public: CertificateFiles, tmp_path: Path
) -> None:
    other = authority.issue("other")
    done = myservice(
        "serve",
        cwd=tmp_path,
        APP_JWT_SECRET=TEST_SECRET,
        APP_WORKERS=workers,
        APP_TLS_CERT=str(public.certificate),
        APP_TLS_KEY=str(other.key),
        APP_TLS_CLIENT_CA="missing.pem",
        APP_ADMIN_TLS_CERT="nowhere.crt",
    )
    assert done.returncode == 2
    lines = {line.partition(":")[0]: line for line in done.stderr.splitlines()}
    assert "required, not set" in lines["APP_DATABASE_URL"]
    assert "give the two that were made together" in lines["APP_TLS_KEY"]
    assert "there is no such file" in lines["APP_TLS_CLIENT_CA"]
    assert "required, not set" in lines["APP_ADMIN_TLS_KEY"]
    assert "Traceback" not in done.stderr


def test_a_worker_needs_no_files_of_the_public_ports(tmp_path: Path) -> None:
    done = myservice("worker", cwd=tmp_path, APP_TLS_CERT="nowhere.crt", APP_ADMIN_TLS_CERT="no.crt",
                     APP_ADMIN_TLS_KEY="no.key", **GIVEN)  # fmt: skip
    assert done.returncode == 2
    assert "APP_TLS_CERT" not in done.stderr
    assert "APP_ADMIN_TLS_CERT: no.crt: there is no such file (from environment)" in done.stderr


def test_doctor_says_when_certificates_end(authority: CertificateAuthority, tmp_path: Path) -> None:
    good, soon = authority.issue("good", days=300), authority.issue("soon", days=7)
    done = myservice("doctor", cwd=tmp_path, **settings_of(good, soon), **GIVEN)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    (found,) = [line for line in lines if line.startswith("ok certificate")]
    assert "for localhost, 127.0.0.1, with its key, until 20" in found
    (found,) = [line for line in lines if line.startswith("warn admin certificate")]
    assert found.endswith("(6 days)")
    expired = authority.issue("expired", days=-1)
    done = myservice("doctor", cwd=tmp_path, **settings_of(expired, good), **GIVEN)
    assert "fail  certificate" in done.stdout
    assert "expired on" in done.stdout


def get(url: str, context: ssl.SSLContext) -> bytes:
    with urllib.request.urlopen(url, context=context, timeout=PATIENCE) as answer:  # noqa: S310 - an https URL of ours
        body: bytes = answer.read()
        return body


def test_run_serves_both_ports_and_top_finds_the_admin_port(
    authority: CertificateAuthority,
    public: CertificateFiles,
    admin: CertificateFiles,
    tmp_path: Path,
) -> None:
    trust = ssl.create_default_context(cafile=authority.file)
    data = tmp_path / "data"
    # As `openssl x509 -text` writes it: servers and `top` look for the certificate in it.
    admin.certificate.write_text(f"Certificate:\n    Data:\n{admin.certificate.read_text()}")
    with running_service(data, **settings_of(public, admin)) as service:
        assert service.url.startswith("https://127.0.0.1:")
        assert service.admin.startswith("https://127.0.0.1:")
        assert json.loads(get(f"{service.url}/health", trust)) == {"status": "ok"}
        look = myservice("top", "--once", "--data-dir", str(data), cwd=tmp_path)
        assert (look.returncode, look.stderr) == (0, "")
        assert "myservice" in look.stdout
        wrong = myservice("top", "--once", service.admin, cwd=tmp_path)
        assert wrong.returncode == 1
        assert "its certificate is not trusted" in wrong.stderr
        named = service.admin.replace("127.0.0.1", "localhost")
        ca = ("--ca", str(authority.file))
        mismatch = myservice("top", "--once", named, *ca, cwd=tmp_path)
        assert "Hostname mismatch" in mismatch.stderr
        authority.issue("admin", hosts=("localhost",))
        service_log = service.log
        while AGAIN not in service_log():
            assert service.process.poll() is None
            myservice("--help", cwd=tmp_path)  # takes a moment
        assert myservice("top", "--once", named, *ca, cwd=tmp_path).returncode == 0


class Serving(ServiceCommand):
    """``serve``, and what it logged."""

    def __init__(self, folder: Path, dsn: str, **settings: str) -> None:
        self.log = folder / "serve.log"
        port = free_port()
        super().__init__(
            "serve", port=port, log=self.log, APP_PORT=str(port), APP_DATABASE_URL=dsn,
            grpc_port=free_port(), **{"APP_ADMIN_PORT": "0", **settings},
        )  # fmt: skip

    def said(self, message: str) -> list[dict[str, object]]:
        whole, _, _ = self.log.read_text().rpartition("\n")
        wanted = f'"msg":"{message}"'
        return [json.loads(line) for line in whole.splitlines() if wanted in line]

    async def until_said(self, message: str, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.said(message)) < times:  # noqa: ASYNC110 - another process's log
                await asyncio.sleep(0.05)

    async def certificate(self, trust: ssl.SSLContext) -> bytes:
        """What it shows; and it answers."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=trust, server_hostname="localhost"
        )
        writer.write(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
        found = shown.getpeercert(binary_form=True)
        writer.close()
        return found or b""


@asynccontextmanager
async def serving(folder: Path, dsn: str, **settings: str) -> AsyncGenerator[Serving]:
    command = Serving(folder, dsn, **settings)
    await command.start()
    try:
        await command.until_said("ready")
        yield command
    finally:
        code = await command.terminate()
    assert code == 0


async def test_sighup_makes_a_single_process_read_the_files_again(
    migrated: str, authority: CertificateAuthority, public: CertificateFiles,
    admin: CertificateFiles, tmp_path: Path,
) -> None:  # fmt: skip
    trust = ssl.create_default_context(cafile=authority.file)
    async with serving(tmp_path, migrated, **settings_of(public, admin)) as command:
        (ready,) = command.said("ready")
        assert str(ready["url"]).startswith("https://")
        assert str(ready["admin"]).startswith("https://")
        before = await command.certificate(trust)
        # Files that did not change are read for the signal only; those that did, at the next look.
        command.send_signal(signal.SIGHUP)
        await command.until_said(AGAIN, 2)  # of the public ports and of the admin port
        assert await command.certificate(trust) == before
        authority.issue("public")
        command.send_signal(signal.SIGHUP)
        await command.until_said(AGAIN, 4)
        again = await command.certificate(trust)
        assert again != before
        public.key.write_text("")
        for times in (1, 2):  # a look at the files says it once
            command.send_signal(signal.SIGHUP)
            await command.until_said(UNUSABLE, times)
        assert await command.certificate(trust) == again


async def test_several_processes_are_replaced_on_sighup_and_the_supervisor_reads_its_own(
    migrated: str, authority: CertificateAuthority, public: CertificateFiles,
    admin: CertificateFiles, tmp_path: Path,
) -> None:  # fmt: skip
    trust = ssl.create_default_context(cafile=authority.file)
    settings = settings_of(public, authority.issue("admin"))
    async with serving(tmp_path, migrated, APP_WORKERS="2", **settings) as command:
        await command.until_said("ready", 3)
        ready = next(each for each in command.said("ready") if each.get("workers") == 2)
        assert str(ready["url"]).startswith("https://")
        url = str(ready["admin"]).replace("127.0.0.1", "localhost")
        state = await asyncio.to_thread(get, f"{url}/debug/state", trust)
        assert len(json.loads(state)["workers"]) == 2
        before = await command.certificate(trust)
        authority.issue("public")
        command.send_signal(signal.SIGHUP)
        await command.until_said("reloaded")
        # Its files did not change, so it has read them for the signal.
        assert any(each.get("component") == "supervisor" for each in command.said(AGAIN))
        assert await command.certificate(trust) != before
        assert await asyncio.to_thread(get, f"{url}/ready", trust)
        assert command.is_running
