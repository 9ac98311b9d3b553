"""What is mended of the library for the associations that we request."""

from __future__ import annotations

import threading
from typing import Any

from pynetdicom import AE
from pynetdicom.dimse_primitives import C_ECHO
from pynetdicom.presentation import build_context

from appliance.dicom.association import associate
from appliance.dicom.syntaxes import VERIFICATION
from tests.peers.scp import scp


def test_an_answer_taken_by_the_wrong_thread_is_put_back() -> None:
    """The association's own thread may take the answer that ``send_*`` waits for: here it is made to."""
    context = build_context(VERIFICATION)
    with (
        scp(AE("PEER"), contexts=[context]) as port,
        associate(host="127.0.0.1", port=port, ae_title="PEER", calling_ae_title="US", contexts=[context], timeout_s=5.0) as association,
    ):
        answer: Any = C_ECHO()
        answer.MessageIDBeingRespondedTo = 7
        answer.Status = 0x0000
        thief = threading.Thread(target=association._serve_request, args=(answer, 1))
        thief.start()
        thief.join()
        assert association.dimse.get_msg(block=True) == (1, answer)
        assert association.send_c_echo().Status == 0x0000
