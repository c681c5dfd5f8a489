"""The files of TLS: what is wrong with them is told at once, and a change is taken only when whole."""

import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.errors import Code
from paceline.http.server import TlsFiles, TlsFilesError
from paceline.testing import CertificateAuthority, CertificateFiles, RecordingLog


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path)


@pytest.fixture
def files(authority: CertificateAuthority) -> CertificateFiles:
    return authority.issue("server")


@dataclass(frozen=True)
class Wrong:
    name: str
    spoil: Callable[[CertificateAuthority, CertificateFiles], object]
    problems: dict[str, str]
    """By file, a part of what is told."""


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


WRONG = (
    Wrong(
        "nothing is there",
        lambda _, files: [each.unlink() for each in (files.certificate, files.key)],  # type: ignore[func-returns-value]
        {"certificate": "no such file", "key": "no such file"},
    ),
    Wrong(
        "not PEM",
        lambda _, files: (files.certificate.write_bytes(b"\x30\x82"), files.key.write_text("secret")),
        {"certificate": "no certificate in PEM", "key": "no private key in PEM"},
    ),
    Wrong("a folder", lambda _, files: make_folder(files.key), {"key": "it is a folder"}),
    Wrong("another's key", lambda ca, files: ca.issue("other").key.replace(files.key), {"key": "not the key of"}),
    Wrong(
        "a key of another kind",
        lambda _, files: files.key.write_text(subprocess.check_output(["openssl", "genrsa", "2048"], text=True)),
        {"key": "not the key of"},
    ),
    Wrong(
        "a key with a passphrase",
        lambda ca, files: ca.issue("server", passphrase="hunter2"),
        {"key": "without: openssl pkey"},
    ),
    Wrong(
        "a certificate that is cut off",
        lambda _, files: files.certificate.write_text(
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        ),
        {"certificate": "certificate 1 in it cannot be read"},
    ),
    Wrong(
        "a key that is cut off",
        lambda _, files: files.key.write_text("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"),
        {"key": "cannot be read"},
    ),
    Wrong(
        "the two exchanged",
        lambda _, files: files.certificate.write_bytes(files.key.read_bytes()),
        {"certificate": "no certificate in PEM"},
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_wrong_files_are_told_with_what_to_do(
    case: Wrong, authority: CertificateAuthority, files: CertificateFiles
) -> None:
    case.spoil(authority, files)
    with pytest.raises(TlsFilesError) as caught:
        TlsFiles(files.certificate, files.key)
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert caught.value.problems.keys() == case.problems.keys()
    for file, text in case.problems.items():
        assert text in caught.value.problems[file]  # type: ignore[index]
    assert "hunter2" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_told_with_the_reason(files: CertificateFiles) -> None:
    files.key.unlink()
    files.key.symlink_to(files.key)
    with pytest.raises(
        TlsFilesError, match=r"it cannot be read: Too many levels of symbolic links"
    ):
        TlsFiles(files.certificate, files.key)


def test_a_client_ca_without_certificates_is_told_with_the_rest(files: CertificateFiles) -> None:
    files.key.unlink()
    with pytest.raises(TlsFilesError) as caught:
        TlsFiles(files.certificate, files.key, client_ca=Path("missing.pem"))
    assert [*caught.value.problems] == ["key", "client_ca"]


def test_the_context_is_for_tls_1_2_and_up_and_both_versions_of_http(
    files: CertificateFiles, authority: CertificateAuthority
) -> None:
    plain = TlsFiles(files.certificate, files.key).context
    assert plain.minimum_version is ssl.TLSVersion.TLSv1_2
    assert plain.verify_mode is ssl.CERT_NONE
    assert plain.options & ssl.OP_NO_RENEGOTIATION
    strict = TlsFiles(files.certificate, files.key, client_ca=authority.file).context
    assert strict.verify_mode is ssl.CERT_REQUIRED


@dataclass(frozen=True)
class Objection:
    name: str
    days: float = 90.0
    starts: float = 0.0
    hosts: tuple[str, ...] = ("localhost",)
    issuer_url: str = ""
    warning: str = ""


OBJECTIONS = (
    Objection("all is well"),
    Objection("expired", days=-1, warning="it has expired on"),
    Objection("not yet valid", starts=2, warning="it is not valid before"),
    Objection("no names", hosts=(), warning="it names no host"),
    Objection("no chain", issuer_url="http://ca/i.crt", warning="its chain is missing"),
)


@pytest.mark.parametrize("case", OBJECTIONS, ids=lambda case: case.name)
def test_what_clients_will_object_to_is_a_warning(
    case: Objection, authority: CertificateAuthority
) -> None:
    files = authority.issue(
        "server",
        days=case.days,
        starts=case.starts,
        hosts=case.hosts,
        issuer_url=case.issuer_url,
    )
    tls, log = TlsFiles(files.certificate, files.key), RecordingLog()
    tls.report(log)
    tls.report(log)
    told = [str(fields["problem"]) for fields in fields_of(log, "TLS certificate")]
    assert len(told) == bool(case.warning)
    assert all(case.warning in each for each in told)


def test_a_chain_that_is_mixed_up_is_a_warning(
    authority: CertificateAuthority, files: CertificateFiles, tmp_path: Path
) -> None:
    other = CertificateAuthority(tmp_path, "another")
    leaf = files.certificate.read_text()
    files.certificate.write_text(leaf + authority.file.read_text())
    assert TlsFiles(files.certificate, files.key).warnings == ()
    files.certificate.write_text(leaf + other.file.read_text())
    (warning,) = TlsFiles(files.certificate, files.key).warnings
    assert "mixed up" in warning


def always_looking(files: CertificateFiles) -> TlsFiles:
    return TlsFiles(files.certificate, files.key, check_interval=0.0)


def all_events(log: RecordingLog) -> list[str]:
    return [event for _, event, _ in log.lines]


def fields_of(log: RecordingLog, event: str) -> list[dict[str, object]]:
    return [fields for _, each, fields in log.lines if each == event]


def test_new_files_are_taken_and_told_with_their_end(
    authority: CertificateAuthority, files: CertificateFiles
) -> None:
    tls, log = always_looking(files), RecordingLog()
    before = tls.context
    tls.refresh(log)
    assert tls.context is before
    authority.issue("server", days=7)
    tls.refresh(log)
    assert tls.context is not before
    (fields,) = fields_of(log, "TLS certificate read again")
    assert fields["until"] == tls.certificate.not_after.isoformat()
    after = tls.context
    tls.refresh(log)
    assert tls.context is after


def test_half_of_a_new_pair_is_not_taken_and_told_once_if_it_stays(
    authority: CertificateAuthority, files: CertificateFiles
) -> None:
    tls, log = always_looking(files), RecordingLog()
    before, key = tls.context, files.key.read_bytes()
    authority.issue("server")
    new_key = files.key.read_bytes()
    files.key.write_bytes(key)
    tls.refresh(log)
    assert all_events(log) == []  # the key may be on its way
    for _ in range(3):
        tls.refresh(log)
    (fields,) = fields_of(log, "TLS files cannot be used: the old ones stay in use")
    assert "give the two that were made together" in str(fields["problem"])
    assert tls.context is before
    files.key.write_bytes(new_key)
    tls.refresh(log)
    assert tls.context is not before


def test_a_folder_that_is_replaced_by_a_link_is_seen(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    """As Kubernetes does it: tls.crt is a link to ..data/tls.crt, and ..data one to a folder."""

    def version(number: int) -> None:
        made = authority.issue(f"version-{number}")
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        made.certificate.rename(folder / "tls.crt")
        made.key.rename(folder / "tls.key")
        aside = tmp_path / "..data_tmp"
        aside.symlink_to(folder.name)
        aside.replace(tmp_path / "..data")

    version(1)
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    links = CertificateFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
    tls, log = always_looking(links), RecordingLog()
    first = tls.certificate
    version(2)
    tls.refresh(log)
    assert tls.certificate.subject != first.subject
    assert all_events(log) == ["TLS certificate read again"]


def test_files_that_vanish_change_nothing(files: CertificateFiles) -> None:
    tls, log = always_looking(files), RecordingLog()
    before = tls.context
    files.certificate.unlink()
    for _ in range(3):
        tls.refresh(log)
    assert tls.context is before
    assert all_events(log) == ["TLS files cannot be used: the old ones stay in use"]


def test_a_reload_that_fails_raises_and_changes_nothing(
    authority: CertificateAuthority, files: CertificateFiles
) -> None:
    tls, log = always_looking(files), RecordingLog()
    before = tls.context
    files.key.write_text("")
    with pytest.raises(TlsFilesError):
        tls.reload()
    assert not tls.renew(log)
    assert tls.context is before
    authority.issue("server")
    assert tls.renew(log)
    assert tls.context is not before
