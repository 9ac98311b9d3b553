"""DICOMweb over a real archive, a real receiver and real HTTP."""

from __future__ import annotations

import io
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from appliance.dicom.receiver import Receiver
from appliance.errors import SettingsError
from appliance.settings import ReceiverSettings, WebSettings, parse_settings
from appliance.web.multipart import LARGEST_PART_HEAD, PartReader
from appliance.web.server import WebServer, serve_web
from appliance.workflow.probe import own_door
from tests.appliance.archive.fakes import encode
from tests.appliance.workflow.world import World
from tests.peers.datasets import ROOT, ct_slice
from tests.peers.waiting import free_port

DICOM = 'multipart/related; type="application/dicom"'


@dataclass
class Site:
    """A box with DICOMweb, a receiver, and one study of three slices."""

    world: World
    web: WebServer
    url: str
    token: str
    reader: str

    def client(self, token: str | None = None, **headers: str) -> httpx.Client:
        authorization = {"Authorization": f"Bearer {self.token if token is None else token}"}
        return httpx.Client(base_url=self.url, headers={**authorization, **headers}, trust_env=False, timeout=30)

    def settle(self) -> None:
        """What has been stored is sorted, and its studies are no longer arriving."""
        self.world.spool.settle()
        self.world.intake().step()
        for study in self.world.archive.studies.in_state("receiving"):
            self.world.archive.studies.save(msgspec.structs.replace(study, state="declined"))


PIXELS = np.frombuffer(ct_slice(index=0).PixelData, "<i2").reshape(48, 64)
STUDY, SERIES = ROOT + "1", ROOT + "2"
ALL = f"/studies/{STUDY}"
ONE = f"{ALL}/series/{SERIES}/instances/{SERIES}.1"


@pytest.fixture
def site(memory: Path) -> Iterator[Site]:
    yield from open_site(memory)


def open_site(memory: Path) -> Iterator[Site]:
    """A box with all of it in a folder, closed when the test is over."""
    world = World(memory / "data")
    for index in range(3):
        dataset = ct_slice(index=index, WindowCenter="200", WindowWidth="400")
        world.push_bytes(encode(dataset), str(dataset.SOPInstanceUID))
    receiver_settings = ReceiverSettings(port=free_port(), minimum_free_bytes=0)
    receiver = Receiver(receiver_settings, store=world.spool)
    receiver.start()
    archive = world.archive
    settings = WebSettings(enabled=True, port=free_port(), maximum_upload_bytes=20 << 20, maximum_matches=50)
    web = serve_web(
        settings, search=archive.search, tokens=archive.tokens, audit=archive.audit, receiver=own_door(receiver_settings),
        maximum_instance_bytes=4 << 20, scratch=memory / "data" / "uploads",
    )  # fmt: skip
    _, token = archive.tokens.add(name="viewer", may_store=True)
    _, reader = archive.tokens.add(name="reader", may_store=False)
    site = Site(world, web, f"http://127.0.0.1:{settings.port}/dicom-web", token, reader)
    site.settle()
    yield site
    web.stop()
    receiver.stop(grace_s=2)
    world.close()


def parts(response: httpx.Response) -> list[tuple[str, bytes]]:
    """Media type and body of each part, taken apart by Python's own parser."""
    raw = b"Content-Type: " + response.headers["content-type"].encode() + b"\r\n\r\n" + response.content
    message = message_from_bytes(raw, policy=HTTP)
    return [(str(part["Content-Type"]), part.get_payload(decode=True)) for part in message.iter_parts()]  # type: ignore[union-attr,misc]


# -- who may


def test_without_a_token_nothing_is_told(site: Site) -> None:
    for token in ("-", "wrong", site.token + "x"):
        response = site.client(token).get("/studies")
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.json()["code"] == "API-040"


def test_a_revoked_token_opens_nothing(site: Site) -> None:
    token, secret = site.world.archive.tokens.add(name="old", may_store=True)
    assert site.client(secret).get("/studies").status_code == 200
    site.world.archive.tokens.revoke(token.id)
    assert site.client(secret).get("/studies").status_code == 401


def test_tokens_are_kept_hashed(site: Site) -> None:
    with site.world.archive.database.reading() as connection:
        kept = [tuple(row) for row in connection.execute("SELECT * FROM web_tokens")]
    assert site.token not in str(kept)
    assert len(kept) == 2


# -- QIDO-RS


def values(answer: dict[str, Any], tag: str) -> list[Any]:
    return list(answer[tag].get("Value", []))


def test_search_of_studies(site: Site) -> None:
    response = site.client().get("/studies", params={"PatientName": "TEST*", "00080020": "20251231-20260102", "ModalitiesInStudy": "CT,MR"})
    assert response.headers["content-type"] == "application/dicom+json"
    (study,) = response.json()
    assert values(study, "0020000D") == [STUDY]
    assert values(study, "00100010") == [{"Alphabetic": "Test^Ceshi", "Ideographic": "测试^患者"}]
    assert values(study, "00201208") == [3]
    assert values(study, "00081190") == [site.url + ALL]
    assert site.client().get("/studies", params={"PatientID": "nobody"}).json() == []


def test_addresses_name_our_port_even_where_the_client_does_not(site: Site) -> None:
    (study,) = site.client(Host="127.0.0.1").get("/studies").json()
    assert values(study, "00081190") == [site.url + ALL]


def test_search_below_a_study_and_everywhere(site: Site) -> None:
    client = site.client()
    (series,) = client.get(f"{ALL}/series").json()
    assert (values(series, "0020000E"), values(series, "00201209"), values(series, "00080060")) == ([SERIES], [3], ["CT"])
    below = client.get(f"{ALL}/series/{SERIES}/instances").json()
    anywhere = client.get("/instances", params={"StudyInstanceUID": STUDY, "includefield": "PatientID"}).json()
    assert (
        [values(each, "00080018") for each in below]
        == [values(each, "00080018") for each in anywhere]
        == [[f"{SERIES}.{n}"] for n in (1, 2, 3)]
    )
    assert values(below[0], "00280010") == [48]
    assert values(anywhere[0], "00100020") == ["TEST-1"]


def test_limit_offset_and_what_is_not_supported(site: Site) -> None:
    client = site.client()
    page = client.get("/instances", params={"limit": 1, "offset": 1, "fuzzymatching": "true"})
    assert [values(each, "00080018") for each in page.json()] == [[f"{SERIES}.2"]]
    assert "fuzzymatching" in page.headers["warning"]
    for wrong in ({"limit": "-1"}, {"Colour": "red"}, {"StudyDate": "yesterday"}, {"limit": "1e3"}):
        assert client.get("/studies", params=wrong).json()["code"] == "API-042"
    assert client.get("/studies", headers={"Accept": "text/html"}).status_code == 406


# -- WADO-RS


def test_a_study_comes_as_it_is_stored(site: Site) -> None:
    response = site.client(Accept=f"{DICOM}; transfer-syntax=*").get(ALL)
    kept = {path.read_bytes() for path in (each.path for each in site.world.archive.search.instances([]))}
    assert {body for _, body in parts(response)} == kept
    assert len(kept) == 3
    audited = [(entry.action, entry.details) for entry in site.world.archive.audit.entries() if entry.action.startswith("web")]
    assert audited == [("web retrieve", {"instances": 3})]


def test_one_instance_alone_or_in_parts(site: Site) -> None:
    alone = site.client(Accept="application/dicom").get(ONE)
    assert pydicom.dcmread(io.BytesIO(alone.content)).SOPInstanceUID == f"{SERIES}.1"
    ((kind, body),) = parts(site.client(Accept=DICOM).get(ONE))
    assert "application/dicom" in kind
    assert body == alone.content


def test_metadata_holds_everything_but_pixels(site: Site) -> None:
    client = site.client()
    (first, *_) = client.get(f"{ALL}/metadata").json()
    source = ct_slice(index=0, WindowCenter="200", WindowWidth="400")
    assert first["7FE00010"]["BulkDataURI"] == f"{site.url}{ONE}/bulkdata/7FE00010"
    bulk = client.get(first.pop("7FE00010")["BulkDataURI"])
    assert bulk.content == source.PixelData
    again = Dataset.from_json(first)
    del source.PixelData
    assert again == source


def test_frames_are_the_pixels(site: Site) -> None:
    ((kind, body),) = parts(site.client(Accept='multipart/related; type="application/octet-stream"').get(f"{ONE}/frames/1"))
    assert "application/octet-stream" in kind
    np.testing.assert_array_equal(np.frombuffer(body, "<i2").reshape(48, 64), PIXELS)
    assert site.client().get(f"{ONE}/frames/2").status_code == 404
    assert site.client().get(f"{ONE}/frames/one").status_code == 400


def test_rendered_in_its_window_or_in_ours(site: Site) -> None:
    client = site.client(Accept="image/png")
    source = PIXELS.astype(float)
    for query, (centre, width) in (({}, (200.0, 400.0)), ({"window": "500,1000,linear"}, (500.0, 1000.0))):
        response = client.get(f"{ONE}/rendered", params=query)
        assert response.headers["content-type"] == "image/png"
        picture = np.asarray(Image.open(io.BytesIO(response.content)), dtype=float)
        low = centre - width / 2
        inside = (source > low + 5) & (source < low + width - 5)
        expected = (source - low) / width * 255
        assert picture.shape == source.shape
        assert inside.any()
        assert np.abs(picture - expected)[inside].max() <= 2
    jpeg = site.client(Accept="image/jpeg").get(f"{ONE}/frames/1/rendered", params={"quality": 50})
    assert Image.open(io.BytesIO(jpeg.content)).format == "JPEG"


def test_what_is_not_there_is_not_found(site: Site) -> None:
    client = site.client()
    for path in (
        "/studies/1.2.3",
        f"{ALL}/series/1.2.3/metadata",
        f"{ALL}/series/{SERIES}/instances/1.2/rendered",
        "/patients",
        f"{ONE}/bulkdata/00100010",
    ):
        assert client.get(path).status_code == 404, path
    assert client.get(ALL, headers={"Accept": "image/gif"}).status_code == 406


def test_pixels_that_cannot_be_decoded_say_so(site: Site) -> None:
    dataset = ct_slice(index=7, BitsAllocated=12)
    site.world.push_bytes(encode(dataset), str(dataset.SOPInstanceUID))
    site.settle()
    response = site.client(Accept="image/png").get(f"{ALL}/series/{SERIES}/instances/{SERIES}.8/rendered")
    assert (response.status_code, response.json()["code"]) == (406, "API-044")


# -- STOW-RS


def upload(*bodies: bytes, boundary: str = "b0undary") -> tuple[bytes, dict[str, str]]:
    body = b"".join(b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % (boundary.encode(), each) for each in bodies)
    return body + b"--" + boundary.encode() + b"--\r\n", {"Content-Type": f"{DICOM}; boundary={boundary}"}


def new_slices(count: int, study: str = ROOT + "77") -> list[Dataset]:
    return [ct_slice(index=index, series_uid=study + ".1", StudyInstanceUID=study) for index in range(count)]


def test_what_is_uploaded_is_on_the_disk_by_the_receiver_s_path(site: Site) -> None:
    slices = new_slices(45)
    body, headers = upload(*(encode(each) for each in slices))
    response = site.client().post("/studies", content=body, headers=headers)
    assert response.status_code == 200, response.text
    assert len(values(response.json(), "00081199")) == 45
    site.settle()
    assert len(site.client().get(f"/studies/{ROOT}77/instances").json()) == 45
    kept = next(iter(site.world.archive.search.instances([])))
    assert kept.path.exists()
    assert list((site.world.data / "uploads").iterdir()) == []
    assert "web store" in [entry.action for entry in site.world.archive.audit.entries()]


def test_each_part_has_its_own_outcome(site: Site) -> None:
    good, other = new_slices(1)[0], new_slices(1, study=ROOT + "78")[0]
    body, headers = upload(encode(good), b"not DICOM at all", encode(other))
    response = site.client().post(f"/studies/{ROOT}77", content=body, headers=headers)
    assert response.status_code == 202
    stored, failed = values(response.json(), "00081199"), values(response.json(), "00081198")
    assert [values(each, "00081155") for each in stored] == [[good.SOPInstanceUID]]
    assert {tuple(values(each, "00081155")): values(each, "00081197") for each in failed} == {
        (): [0xC000],
        (other.SOPInstanceUID,): [0x0110],
    }


def test_an_upload_with_nothing_good_is_a_conflict(site: Site) -> None:
    body, headers = upload(b"x" * 2000)
    assert site.client().post("/studies", content=body, headers=headers).status_code == 409


def test_a_reader_may_not_store(site: Site) -> None:
    body, headers = upload(encode(new_slices(1)[0]))
    response = site.client(site.reader).post("/studies", content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (403, "API-041")


@pytest.mark.parametrize(
    "kind", ["application/dicom", 'multipart/related; type="application/dicom+json"; boundary=x', "multipart/related", ""]
)
def test_other_kinds_of_body_are_refused(site: Site, kind: str) -> None:
    assert site.client().post("/studies", content=b"--x--", headers={"Content-Type": kind}).status_code == 415


def test_uploads_are_bounded_and_leave_nothing(site: Site) -> None:
    for bodies in ([bytes(5 << 20)], [bytes(3 << 20)] * 8):
        body, headers = upload(*bodies)
        response = site.client().post("/studies", content=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (413, "API-047")
    assert list((site.world.data / "uploads").iterdir()) == []


def test_a_body_that_breaks_off_is_refused(site: Site) -> None:
    body, headers = upload(encode(new_slices(1)[0]))
    assert site.client().post("/studies", content=body[:-200], headers=headers).status_code == 415


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_parts_are_found_however_the_body_is_cut(size: int) -> None:
    bodies = [b"\r\n--b0undar", b"", b"x" * 300, b"\r\n\r\n--b0undaryX"]
    body, _ = upload(*bodies[:3])
    reader, found, current = PartReader("b0undary"), [], b""
    for at in range(0, len(body), size):
        for piece in reader.feed(body[at : at + size]):
            if piece is None:
                found.append(current)
                current = b""
            else:
                current += piece
    assert reader.ended
    assert found == bodies[:3]


def test_a_head_that_never_ends_is_refused() -> None:
    reader = PartReader("b")
    with pytest.raises(Exception, match="API-046"):
        list(reader.feed(b"--b\r\nContent-Type: " + b"x" * (LARGEST_PART_HEAD + 10)))


# -- HTTPS


def certificates(folder: Path) -> dict[str, Path]:
    """An authority, and a server and a client that it has signed, made by OpenSSL."""
    openssl = shutil.which("openssl")
    assert openssl is not None

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], check=True, capture_output=True, cwd=folder)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA", "-days", "2")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client"):
        run("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        run(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-out",
            f"{name}.pem",
            "-days",
            "2",
            "-extfile",
            "san",
        )
    return {path.name: path for path in folder.iterdir()}


def test_https_with_a_client_certificate_or_a_token(site: Site, tmp_path: Path) -> None:
    files = certificates(tmp_path)
    settings = WebSettings(
        enabled=True, port=free_port(), certificate=files["server.pem"], private_key=files["server.key"], client_authorities=files["ca.pem"]
    )
    archive = site.world.archive
    web = serve_web(
        settings, search=archive.search, tokens=archive.tokens, audit=archive.audit, receiver=own_door(ReceiverSettings()),
        maximum_instance_bytes=1 << 20, scratch=tmp_path / "uploads",
    )  # fmt: skip
    try:
        url = f"https://127.0.0.1:{settings.port}/dicom-web/studies"
        trusting = ssl.create_default_context(cafile=str(files["ca.pem"]))
        assert httpx.get(url, verify=trusting, trust_env=False).status_code == 401
        assert httpx.get(url, verify=trusting, trust_env=False, headers={"Authorization": f"Bearer {site.token}"}).status_code == 200
        trusting.load_cert_chain(files["client.pem"], files["client.key"])
        answer = httpx.get(url, verify=trusting, trust_env=False)
        assert (answer.status_code, answer.json()[0]["00081190"]["Value"]) == (200, [f"{url}/{STUDY}"])
        own = tmp_path / "own"
        own.mkdir()
        stranger = certificates(own)
        other = ssl.create_default_context(cafile=str(files["ca.pem"]))
        other.load_cert_chain(stranger["client.pem"], stranger["client.key"])
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=other, trust_env=False)
    finally:
        web.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])
def test_plain_http_is_for_this_machine_alone(host: str) -> None:
    with pytest.raises(SettingsError, match="certificate"):
        parse_settings({"web": {"enabled": True, "host": host}}, source="test")
