"""Who may come in, under which title, and by TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from appliance.dicom import fast_path
from appliance.dicom.receiver import run_receiver
from appliance.dicom.sender import echo
from appliance.dicom.service import handlers_of
from appliance.errors import DicomError
from appliance.settings.receiver import ReceiverSettings, TitleSettings, TlsSettings
from appliance.workflow.probe import own_door
from tests.appliance.dicom.conftest import Door, StartDoor
from tests.peers import dcmtk
from tests.peers.datasets import ct_slice, encode, write_series
from tests.peers.parrot import ASSOCIATE_RJ, IMPLICIT, Parrot, associate_rq
from tests.peers.waiting import free_port

RAW_DATA = "1.2.840.10008.5.1.4.1.1.66"


# -- titles and addresses


def test_each_title_of_ours_is_answered_and_recorded(start_door: StartDoor, tmp_path: Path) -> None:
    door = start_door(ae=(TitleSettings(title="RELAY", workflow="relay"),))
    for number, title in enumerate(("CORONET", "RELAY")):
        assert dcmtk.storescu(door.port, write_series(tmp_path / f"s{number}", 1), called=title).returncode == 0
    assert dcmtk.echoscu(door.port, called="OTHER").returncode != 0
    door.wait_idle()
    assert [row["called_ae_title"] for row in door.associations()] == ["CORONET", "RELAY"]


@pytest.mark.parametrize(("request_", "reason"), [({"called": "OTHER"}, 7), ({"calling": "OTHER"}, 3)])
def test_titles_that_are_not_known_are_rejected_with_their_own_reason(start_door: StartDoor, request_: dict[str, str], reason: int) -> None:
    """PS3.8 section 9.3.4: rejected permanent, by the service user, reason 7 called and 3 calling AE title not recognised."""
    door = start_door(calling_ae_titles=("PARROT",))
    with Parrot(door.port) as parrot:
        assert parrot.say(associate_rq(**request_)).hear() == (ASSOCIATE_RJ, bytes([0, 1, 1, reason]))


def test_addresses_that_are_not_on_the_list_are_closed_at_once(start_door: StartDoor) -> None:
    door = start_door(calling_addresses=("127.0.0.2", "127.0.1.0/24"))
    with Parrot(door.port, source="127.0.0.9") as stranger:
        assert stranger.seconds_until_closed() < 15
    for source in ("127.0.0.2", "127.0.1.77"):
        with Parrot(door.port, source=source) as parrot:
            dataset = ct_slice()
            assert parrot.associate().store(encode(dataset), sop_instance=str(dataset.SOPInstanceUID)) == (0x0000, "")


def test_our_own_probe_needs_no_place_on_the_list_of_addresses(start_door: StartDoor) -> None:
    """Else a site that lists its scanner would have its receiver started again every three minutes."""
    door = start_door(calling_addresses=("192.0.2.10",))
    echo(own_door(ReceiverSettings(port=door.port)))


@pytest.mark.parametrize(("policy", "result"), [("keep", 0), ("refuse", 3)])
def test_raw_data_is_kept_or_refused_by_policy(start_door: StartDoor, policy: str, result: int) -> None:
    door = start_door(raw_data=policy)
    with Parrot(door.port) as parrot:
        _, body = parrot.say(associate_rq(contexts=((1, RAW_DATA, (IMPLICIT,)),))).hear()
    assert body[body.index(b"\x21\x00") + 6] == result


# -- what pynetdicom must be


def test_an_unknown_pynetdicom_is_not_worked_with(monkeypatch: pytest.MonkeyPatch, door: Door) -> None:
    fast_path.check_library()
    monkeypatch.setattr(fast_path.pynetdicom, "__version__", "9.9.9")
    with pytest.raises(DicomError, match=r"DCM-040.*9\.9\.9"):
        fast_path.check_library()
    assert run_receiver(ReceiverSettings(port=free_port()), door.spool) == 1


def test_two_services_may_not_answer_the_same_request() -> None:
    from pynetdicom import evt

    class Service:
        contexts = ()
        handlers = ((evt.EVT_N_ACTION, print),)

    assert len(handlers_of([Service()])) == 1
    with pytest.raises(ValueError, match="EVT_N_ACTION"):
        handlers_of([Service(), Service()])


# -- TLS


@dataclass(frozen=True)
class Certificates:
    folder: Path

    def key(self, name: str) -> str:
        return str(self.folder / f"{name}.key")

    def certificate(self, name: str) -> str:
        return str(self.folder / f"{name}.pem")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority with a server and a client, and another authority with a client of its own."""
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    for authority, names in (("authority", ("server", "client")), ("stranger", ("strange-client",))):
        _openssl("req", "-x509", "-subj", f"/CN={authority}", "-days", "2", *_new(made, authority), "-out", made.certificate(authority))
        for name in names:
            request = str(made.folder / f"{name}.csr")
            _openssl("req", "-subj", f"/CN={name}", *_new(made, name), "-out", request)
            signer = ("-CA", made.certificate(authority), "-CAkey", made.key(authority), "-CAcreateserial")
            _openssl("x509", "-req", "-in", request, "-days", "2", *signer, "-out", made.certificate(name))
    return made


def _new(made: Certificates, name: str) -> tuple[str, ...]:
    return ("-newkey", "rsa:2048", "-nodes", "-keyout", made.key(name))


def _openssl(*arguments: str) -> None:
    subprocess.run([dcmtk.need("openssl"), *arguments], check=True, capture_output=True, timeout=60)


@pytest.fixture
def tls_port() -> int:
    return free_port()


@pytest.fixture
def tls_door(start_door: StartDoor, certificates: Certificates, tls_port: int) -> Door:
    tls = TlsSettings(
        port=tls_port,
        certificate=Path(certificates.certificate("server")),
        key=Path(certificates.key("server")),
        authorities=Path(certificates.certificate("authority")),
    )
    return start_door(tls=tls, pdu_timeout_s=1.0, association_timeout_s=2.0, idle_timeout_s=5.0)


def _as(certificates: Certificates, name: str) -> tuple[str, ...]:
    return ("+tls", certificates.key(name), certificates.certificate(name), "+cf", certificates.certificate("authority"))


def test_a_peer_with_a_certificate_stores_by_tls_and_others_in_the_clear(
    tls_door: Door, tls_port: int, certificates: Certificates, tmp_path: Path
) -> None:
    sent = write_series(tmp_path / "secret", 6)
    result = dcmtk.storescu(tls_port, sent, *_as(certificates, "client"))
    assert result.returncode == 0, result.stderr
    assert dcmtk.storescu(tls_door.port, write_series(tmp_path / "plain", 2)).returncode == 0
    assert len(tls_door.instances()) == 8
    for path in sent:
        original = pydicom.dcmread(path)
        assert pydicom.dcmread(tls_door.spool.path(original.SOPInstanceUID)).PixelData == original.PixelData


def test_a_peer_whose_certificate_nobody_here_has_signed_is_refused(
    tls_door: Door, tls_port: int, certificates: Certificates, tmp_path: Path
) -> None:
    sent = write_series(tmp_path / "series", 1)
    assert dcmtk.storescu(tls_port, sent, *_as(certificates, "strange-client")).returncode != 0
    assert dcmtk.storescu(tls_port, sent, "+tla", "-ic").returncode != 0
    tls_door.wait_idle()
    assert tls_door.instances() == []


def test_without_client_certificates_where_the_site_says_so(start_door: StartDoor, certificates: Certificates, tls_port: int) -> None:
    tls = TlsSettings(
        port=tls_port,
        certificate=Path(certificates.certificate("server")),
        key=Path(certificates.key("server")),
        client_certificate=False,
    )
    start_door(tls=tls)
    context = _client()
    with socket.create_connection(("127.0.0.1", tls_port), timeout=10) as plain, context.wrap_socket(plain) as secure:
        secure.sendall(associate_rq())
        assert secure.recv(1) == b"\x02"
        assert secure.version() == "TLSv1.3"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "suites"),
    [(ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"), (ssl.TLSVersion.TLSv1_2, "AES128-SHA"), (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384")],
)
def test_old_versions_and_suites_without_forward_secrecy_are_refused(
    tls_door: Door, tls_port: int, version: ssl.TLSVersion, suites: str
) -> None:
    context = _client()
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(suites)
    with socket.create_connection(("127.0.0.1", tls_port), timeout=10) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(plain)
    tls_door.wait_idle()


def test_silence_and_junk_at_the_tls_port_hold_up_nobody(tls_door: Door, tls_port: int, certificates: Certificates, tmp_path: Path) -> None:
    """The handshake runs in the connection's own thread and deadline, not in the listener's."""
    silent = [Parrot(tls_port) for _ in range(3)]
    half = [Parrot(tls_port).say(b"\x16\x03\x01\x02\x00\x01") for _ in range(2)]
    plain = Parrot(tls_port).say(associate_rq())
    sent = write_series(tmp_path / "series", 1)
    assert dcmtk.storescu(tls_port, sent, *_as(certificates, "client")).returncode == 0
    for parrot in (*silent, *half, plain):
        parrot.seconds_until_closed()
    tls_door.wait_idle()


def _client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_a_certificate_that_cannot_be_used_stops_the_start(door: Door, certificates: Certificates, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    tls = TlsSettings(port=free_port(), certificate=broken, key=broken, client_certificate=False)
    assert run_receiver(ReceiverSettings(port=free_port(), tls=tls), door.spool) == 1
