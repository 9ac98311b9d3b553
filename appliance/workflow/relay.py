"""The relay put together from the settings: what else answers on the receiver's port, and which workers the coordinator runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from appliance.archive.archive import Archive
from appliance.archive.orders import Order
from appliance.dicom.commitment_service import CommitmentService
from appliance.dicom.deidentify import Deidentifier
from appliance.dicom.mpps import ProcedureStepService
from appliance.dicom.service import Service
from appliance.dicom.treatment import Treater
from appliance.settings import Settings
from appliance.workflow.committing import CommitmentAsker, CommitmentReporter
from appliance.workflow.delivery import BackOff
from appliance.workflow.ordering import OrderJoiner
from appliance.workflow.step_relay import StepRelay
from appliance.workflow.workers import Work


def relay_services(settings: Settings, archive: Archive) -> list[Service]:
    """Storage commitment (for the CT where its reports can be true, for the archives' reports in any case) and procedure steps."""
    committing = bool(settings.archive.destination) or settings.commitment.local_storage
    requesters = [peer.ae_title for peer in settings.peer] if committing else []
    services: list[Service] = []
    if committing or any(each.commitment for each in settings.destination):
        services.append(CommitmentService(commitments=archive.commitments, requesters=requesters))
    if settings.mpps.accept:
        services.append(ProcedureStepService(steps=archive.procedure_steps))
    return services


def relay_workers(settings: Settings, archive: Archive) -> dict[str, Work]:
    """Name -> what its thread runs; beside the workers of the delivery."""
    back_off = BackOff(random=random.SystemRandom().random)
    workers: dict[str, Work] = {}
    for destination in settings.destination:
        if destination.enabled and destination.commitment:
            asker = CommitmentAsker(destination=destination, archive=archive, back_off=back_off, new_uid=_new_uid)
            workers[f"commitment {destination.name}"] = asker.run
    if settings.archive.destination or settings.commitment.local_storage:
        reporter = CommitmentReporter(
            archive=archive, long_term=settings.archive, commitment=settings.commitment, peers=settings.peer, back_off=back_off
        )
        workers["commitment reports"] = reporter.run
    else:
        archive.components.report("commitment", ready=True)  # whatever an earlier setting left there
    if settings.worklist.host:
        today = lambda: datetime.now().astimezone().date()  # noqa: E731
        workers["worklist"] = OrderJoiner(archive=archive, settings=settings.worklist, today=today).run
    if settings.mpps.host:
        workers["procedure steps"] = StepRelay(archive=archive, settings=settings.mpps, back_off=back_off).run
    return workers


def make_treater(archive: Archive) -> Treater:
    """What carries out the treatments of routes."""
    return Treater(
        find_order=_find_order(archive),
        deidentify=Deidentifier(pseudonyms=archive.pseudonyms).deidentify,
        now=lambda: datetime.now().astimezone(),
    )


def _find_order(archive: Archive) -> Callable[[Dataset], Order | None]:
    def find(dataset: Dataset) -> Order | None:
        uid, accession, patient = (str(dataset.get(keyword, "")) for keyword in ("StudyInstanceUID", "AccessionNumber", "PatientID"))
        return archive.orders.find(study_uid=uid, accession_number=accession, patient_id=patient)

    return find


def _new_uid() -> str:
    return str(generate_uid(prefix=None))
