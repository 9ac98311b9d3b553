"""Orthanc as the PACS: real DICOM store, asked over its REST interface what it has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.peers.waiting import free_port, wait_until


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc: AE title ORTHANC."""

    port: int
    http_port: int

    def get(self, path: str) -> Any:
        """GET a JSON resource of the REST interface."""
        return httpx.get(f"http://127.0.0.1:{self.http_port}{path}", trust_env=False).raise_for_status().json()

    def instances(self) -> list[dict[str, str]]:
        """Main tags of all instances."""
        return [self.get(f"/instances/{identifier}/simplified-tags") for identifier in self.get("/instances")]

    def lookup(self, sop_instance_uid: str) -> str:
        """Orthanc's own identifier of an instance."""
        found = httpx.post(f"http://127.0.0.1:{self.http_port}/tools/lookup", content=sop_instance_uid, trust_env=False).json()
        return str(found[0]["ID"])

    def delete(self, path: str) -> None:
        """DELETE a resource."""
        httpx.delete(f"http://127.0.0.1:{self.http_port}{path}", trust_env=False).raise_for_status()


@contextmanager
def orthanc(folder: Path, *, modalities: Mapping[str, Sequence[Any]] | None = None, port: int | None = None) -> Iterator[Orthanc]:
    """Run Orthanc on ``folder``; ``modalities``: name -> AE title, host, port of those it calls."""
    tool = shutil.which("Orthanc")
    if tool is None:
        pytest.fail("Orthanc is not installed: make test installs it")
    peer = Orthanc(port or free_port(), free_port())
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "Name": "PACS", "DicomAet": "ORTHANC", "DicomPort": peer.port, "HttpPort": peer.http_port, "RemoteAccessAllowed": False,
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "AuthenticationEnabled": False, "DefaultEncoding": "Utf8",
        "DicomCheckCalledAet": True, "SyncStorageArea": True, "DicomModalities": dict(modalities or {}), "Plugins": [],
    }  # fmt: skip
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration))
    process = subprocess.Popen(
        [tool, str(file)], env={**os.environ, "TCP_NODELAY": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def ready() -> bool:
        try:
            return bool(peer.get("/system"))
        except httpx.HTTPError:
            time.sleep(0.1)
            return process.poll() is not None

    try:
        wait_until(ready, timeout_s=60, what="Orthanc answering")
        if process.poll() is not None:
            raise RuntimeError(f"Orthanc ended with {process.returncode}")
        yield peer
    finally:
        process.terminate()
        process.wait(timeout=30)
