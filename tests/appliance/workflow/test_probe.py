"""A receiver that runs but does not answer is started again."""

from __future__ import annotations

import socket

import pytest

from appliance.dicom.sender import echo
from appliance.errors import DicomError
from appliance.settings import DestinationSettings, ReceiverSettings
from appliance.workflow.probe import MAXIMUM_FAILURES, STARTING_S, ReceiverProbe, own_door
from tests.appliance.archive.fakes import TurnedClock
from tests.peers.waiting import free_port


def test_only_failures_in_a_row_count() -> None:
    answers = [True] + [False] * (MAXIMUM_FAILURES - 1) + [True] + [False] * (2 * MAXIMUM_FAILURES)
    restarts: list[int] = []
    clock = TurnedClock()
    asked = 0

    def scripted(_destination: DestinationSettings) -> None:
        nonlocal asked
        asked += 1
        if not answers[asked - 1]:
            raise DicomError("DCM-001", zh="无应答", en="no answer")

    probe = ReceiverProbe(destination=own_door(ReceiverSettings()), echo=scripted, restart=lambda: restarts.append(asked), clock=clock)
    for _ in range(len(answers) - MAXIMUM_FAILURES):
        probe.step()
    clock.pass_s(STARTING_S)  # the receiver that was started again has had its time, too
    for _ in range(MAXIMUM_FAILURES):
        probe.step()
    assert restarts == [1 + 2 * MAXIMUM_FAILURES, 1 + 3 * MAXIMUM_FAILURES]


def test_a_receiver_that_is_still_starting_is_left_alone_and_one_that_never_answers_is_not() -> None:
    """A start may take minutes (first start, busy machine); killing it then would begin the same minutes anew, for ever."""
    clock = TurnedClock()
    restarts: list[bool] = []

    def nobody(_destination: DestinationSettings) -> None:
        raise DicomError("DCM-001", zh="无应答", en="no answer")

    probe = ReceiverProbe(destination=own_door(ReceiverSettings()), echo=nobody, restart=lambda: restarts.append(True), clock=clock)
    while clock.monotonic() < 1000.0 + STARTING_S:
        probe.step()
        assert (restarts, probe.silent_s()) == ([], 0.0)
        clock.pass_s(60.0)
    for _ in range(MAXIMUM_FAILURES):
        probe.step()
    assert restarts == [True]
    clock.pass_s(500.0)
    probe.step()
    assert restarts == [True], "it is starting again"
    assert probe.silent_s() == 500.0, "which the watchdog does not wait for"


def test_a_door_that_takes_connections_but_never_speaks_is_a_failure() -> None:
    """The real echo against a socket that only listens."""
    with socket.socket() as mute:
        port = free_port()
        mute.bind(("127.0.0.1", port))
        mute.listen()
        restarts: list[bool] = []
        destination = DestinationSettings(name="receiver", host="127.0.0.1", port=port, ae_title="CORONET", timeout_s=0.3)
        clock = TurnedClock()
        probe = ReceiverProbe(destination=destination, echo=echo, restart=lambda: restarts.append(True), clock=clock)
        clock.pass_s(STARTING_S)
        for _ in range(MAXIMUM_FAILURES):
            probe.step()
        assert restarts == [True]


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1"), ("192.0.2.4", "192.0.2.4")])
def test_our_door_is_reached_where_it_listens_with_a_title_that_may_call(host: str, reached: str) -> None:
    door = own_door(ReceiverSettings(host=host, calling_ae_titles=("CT1", "CT2")))
    assert (door.host, door.calling_ae_title, door.ae_title) == (reached, "CT1", "CORONET")
