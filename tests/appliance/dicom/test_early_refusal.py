"""A disk without room for a whole series: the first image of an association is answered with A700, not one in the middle."""

from __future__ import annotations

from pathlib import Path

from appliance.archive.clock import SystemClock
from appliance.archive.database import Database
from appliance.archive.instances import Spool
from appliance.archive.retention import room_of
from appliance.dicom.receiver import Receiver
from appliance.settings import ReceiverSettings
from tests.peers.datasets import ct_slice, encode
from tests.peers.parrot import CT_IMAGE, EXPLICIT, Parrot
from tests.peers.waiting import free_port


def test_a_new_association_is_answered_with_a700_until_there_is_room(memory: Path) -> None:
    database = Database(memory / "coronet.db")
    spool = Spool(
        database=database, root=memory / "spool", clock=SystemClock(), minimum_free_bytes=0, segment_bytes=1 << 20,
        series_reserve_bytes=2 * room_of(memory).free,
    )  # fmt: skip
    receiver = Receiver(ReceiverSettings(port=free_port(), minimum_free_bytes=0), store=spool)
    receiver.start()
    try:
        with Parrot(receiver.port) as ct:
            ct.associate(contexts=((1, CT_IMAGE, (EXPLICIT,)),))
            for index in range(2):
                dataset = ct_slice(index=index)
                status, comment = ct.store(encode(dataset), sop_instance=str(dataset.SOPInstanceUID))
                assert (status, comment) == (0xA700, "ARC-020")
            spool._series_reserve_bytes = 0  # room was made
            dataset = ct_slice(index=2)
            assert ct.store(encode(dataset), sop_instance=str(dataset.SOPInstanceUID))[0] == 0
            spool._series_reserve_bytes = 2 * room_of(memory).free  # and is gone again: this series may end
            dataset = ct_slice(index=3)
            assert ct.store(encode(dataset), sop_instance=str(dataset.SOPInstanceUID))[0] == 0
    finally:
        receiver.stop(grace_s=5)
        spool.close()
        database.close()
