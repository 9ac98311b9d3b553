"""The self-test that the kiosk offers: who may, one at a time, and the real one on a real daemon."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest

from appliance.errors import WorkflowError
from appliance.workflow.self_test import SelfTest
from appliance.worklist import SelfTestRow, Session
from tests.appliance.archive.fakes import make_archive
from tests.appliance.running import daemon, open_archive_of
from tests.peers.waiting import wait_until

ENGINEER = Session(token="", user_id="u-eng", user_name="Sun", role="engineer", may_approve=False, may_finalise=False)
NOBODY = Session(token="", user_id="u-rad", user_name="Li", role="radiographer", may_approve=True, may_finalise=False)
GOOD = SelfTestRow(part="disk", state="good", zh="好", en="good")


def test_one_test_at_a_time_for_who_may(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    go, runs = threading.Event(), []

    def run() -> list[SelfTestRow]:
        runs.append(1)
        go.wait(20)
        return [GOOD]

    test = SelfTest(archive=archive, run=run, roles=("engineer",))
    assert not test.info(ENGINEER).running
    assert test.start(ENGINEER).running
    assert test.start(ENGINEER).running
    go.set()
    wait_until(lambda: test.info(ENGINEER).rows == (GOOD,))
    assert len(runs) == 1
    for call in (test.info, test.start):
        with pytest.raises(WorkflowError, match="WF-104"):
            call(NOBODY)
    assert [(entry.actor, entry.action) for entry in archive.audit.entries()] == [("u-eng", "self-test")]
    archive.close()


@pytest.mark.parametrize("options", [["--apart", "analyst"], ["--safe-mode"]])
def test_a_daemon_tells_by_its_api_what_doctor_would_say(tmp_path: Path, options: list[str]) -> None:
    """In safe mode, too: there the service engineer needs it most."""
    with daemon(tmp_path / "box", options=options) as running, open_archive_of(running) as archive:
        archive.users.add(name="Sun", role="engineer", pin="2468")
        transport = httpx.HTTPTransport(uds=str(running.data / "api.sock"))
        with httpx.Client(transport=transport, base_url="http://coronet", timeout=30) as client:
            token = client.post("/v1/sign-in", json={"pin": "2468"}).json()["token"]
            client.headers["Authorization"] = f"Bearer {token}"
            assert client.post("/v1/self-test", json={"command": "command-1"}).json()["running"]
            wait_until(lambda: not client.get("/v1/self-test").json()["running"], timeout_s=60)
            rows = {row["part"]: row["state"] for row in client.get("/v1/self-test").json()["rows"]}
    assert rows["disk"] == rows["database"] == rows["receiver"] == rows["clock"] == "good"
    assert rows["panel"] == rows["ups"] == rows["models"] == "absent"
