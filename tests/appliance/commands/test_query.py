"""The query process as the daemon runs it: what the receiver stored is found and fetched through every door."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE

from appliance.__main__ import main
from appliance.commands.query import move_targets
from appliance.settings import DestinationSettings, PeerSettings, RouteSettings, Settings
from tests.appliance.running import daemon, open_archive_of
from tests.peers.datasets import ROOT, ct_slice, save
from tests.peers.dcmtk import echoscu, storescu
from tests.peers.waiting import answers, free_port, wait_until

FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def found(port: int) -> list[str]:
    """Patient names that a C-FIND is answered with."""
    ae = AE("SCU")
    ae.add_requested_context(FIND)
    association = ae.associate("127.0.0.1", port, ae_title="CORONET")
    assert association.is_established
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.PatientName, identifier.StudyInstanceUID = "STUDY", "", ROOT + "1"
    names = [str(answer.PatientName) for _, answer in association.send_c_find(identifier, FIND) if answer is not None]
    association.release()
    return names


def test_what_was_received_is_found_and_fetched(tmp_path: Path) -> None:
    image = save(ct_slice(), tmp_path / "1.dcm")
    web_port = free_port()
    with daemon(tmp_path / "box", more_settings=f"[web]\nenabled = true\nport = {web_port}\n") as running:
        assert storescu(running.port, [image]).returncode == 0
        with open_archive_of(running) as archive:
            wait_until(lambda: archive.studies.in_state("declined") != [], timeout_s=60)
            wait_until(lambda: archive.components.get("query").ready, timeout_s=60)
            _, secret = archive.tokens.add(name="test", may_store=False)
        assert echoscu(running.query_port).returncode == 0
        assert found(running.query_port) == ["Test^Ceshi=测试^患者"]
        headers = {"Authorization": f"Bearer {secret}", "Accept": "application/dicom; transfer-syntax=*"}
        url = f"http://127.0.0.1:{web_port}/dicom-web/studies/{ROOT}1/series/{ROOT}2/instances/{ROOT}2.1"
        (tmp_path / "again.dcm").write_bytes(httpx.get(url, headers=headers, trust_env=False).raise_for_status().content)
        assert pydicom.dcmread(tmp_path / "again.dcm") == pydicom.dcmread(image)
        # a query process that dies is started again; receiving goes on
        first = running.children()["query"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: running.children().get("query") not in {None, first}, timeout_s=60)
        wait_until(lambda: answers(running.query_port), timeout_s=60)
        assert found(running.query_port) == ["Test^Ceshi=测试^患者"]


def test_nobody_can_have_images_moved_in_clear_to_where_pseudonymised_ones_go() -> None:
    destinations = tuple(
        DestinationSettings(name=name, host="192.0.2.1", port=104, ae_title=name.upper(), send=()) for name in ("pacs", "research")
    )
    routes = (RouteSettings(name="study", to=("research",), pseudonymise=True), RouteSettings(name="all", to=("pacs",)))
    peer = PeerSettings(ae_title="CT1", host="192.0.2.2", port=104)
    assert sorted(move_targets(Settings(destination=destinations, route=routes, peer=(peer,)))) == ["CT1", "PACS"]


def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    """The status is 1 and the kiosk gets the reason; the daemon would start the process again, later and later."""
    from socket import socket

    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = tmp_path / "coronet.toml"
        settings.write_text(f'data = "{tmp_path}/data"\n[query]\nport = {taken.getsockname()[1]}\n')
        assert main(["query", "--settings", str(settings)]) == 1
