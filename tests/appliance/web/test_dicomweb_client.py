"""The same service through dicomweb-client, a client that others wrote."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from tests.appliance.archive.fakes import encode
from tests.appliance.web.test_dicomweb import PIXELS, SERIES, STUDY, Site, new_slices, open_site


@pytest.fixture
def site(memory: Path) -> Iterator[Site]:
    yield from open_site(memory)


@pytest.fixture
def client(site: Site) -> DICOMwebClient:
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {site.token}"
    return DICOMwebClient(url=site.url, session=session)


def test_searches(client: DICOMwebClient) -> None:
    (study,) = client.search_for_studies(search_filters={"PatientID": "TEST*"}, limit=5)
    assert study["0020000D"]["Value"] == [STUDY]
    assert len(client.search_for_series(STUDY)) == 1
    assert len(client.search_for_instances(STUDY, SERIES)) == 3


def test_retrieves(client: DICOMwebClient) -> None:
    assert [each.SOPInstanceUID for each in client.retrieve_study(STUDY)] == [f"{SERIES}.{number}" for number in (1, 2, 3)]
    names = (STUDY, SERIES, f"{SERIES}.1")
    np.testing.assert_array_equal(np.frombuffer(client.retrieve_instance(*names).PixelData, "<i2"), PIXELS.ravel())
    assert client.retrieve_instance_frames(*names, [1]) == [PIXELS.tobytes()]
    assert client.retrieve_instance_rendered(*names, media_types=("image/png",)).startswith(b"\x89PNG")
    metadata = client.retrieve_instance_metadata(*names)
    assert client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"]) == [PIXELS.tobytes()]
    assert len(client.retrieve_series_metadata(STUDY, SERIES)) == 3


def test_stores(client: DICOMwebClient, site: Site) -> None:
    slices = [pydicom.dcmread(io.BytesIO(encode(each))) for each in new_slices(2)]
    answer = client.store_instances(slices)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [each.SOPInstanceUID for each in slices]
    site.settle()
    assert len(client.search_for_instances(slices[0].StudyInstanceUID)) == 2
