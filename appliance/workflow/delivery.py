"""Delivery: a worker per destination empties the outbox, and never gives up.

A row is marked ``sending`` before its first byte goes out, and ``done`` after the destination has answered with success. Between tries the
wait doubles up to a limit, with jitter. Where a destination cannot be reached at all, all its rows wait (the circuit is open) until one
of them gets through; other destinations have their own workers and do not notice. After a crash stores go again (the same SOP instance
twice is harmless), prints that may have come out are held for a person (`Outbox.resume`).
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.archive.archive import Archive
from appliance.archive.clock import Clock
from appliance.archive.outbox import MAYBE_PRINTED, FileAnswer, OutboxFile, OutboxRow
from appliance.errors import CoronetError, Reason, WorkflowError
from appliance.workflow.states import StudyMachine

log = logging.getLogger(__name__)

IDLE_S = 5.0
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 300.0
FAILURES_SHOWN = 2
"""So many failures in a row and a destination is shown to people as down."""

FAULT = Reason(code="WF-030", zh="发送时发生内部错误", en="internal fault while sending")
NOT_CONFIGURED = Reason(code="WF-031", zh="设置中已没有此目的地", en="the settings no longer hold this destination")
MISSING = Reason(code="WF-032", zh="待发送的文件缺失", en="a file that should be sent is missing")
REFUSED = Reason(code="WF-033", zh="目的地未接收全部文件", en="the destination did not accept every file")


@dataclass(frozen=True)
class Answer:
    """What a destination said to one file; ``status`` is None if it said nothing. The UIDs are those that went out.

    A file that the treatment of the route does not let go is ``left_out``; it counts as accepted, since nothing is owed for it.
    """

    path: Path
    accepted: bool
    status: int | None
    reason: Reason | None = None
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    left_out: bool = False

    @property
    def record(self) -> FileAnswer:
        """As the outbox keeps it."""
        return FileAnswer(self.accepted, self.status, self.sop_class_uid, self.sop_instance_uid, self.left_out)


@dataclass(frozen=True)
class Delivered:
    """How a try went: an answer per file, and a warning where the work was done but not quite as asked."""

    answers: tuple[Answer, ...]
    warning: Reason | None = None


class Channel(Protocol):
    """The way to one destination."""

    @property
    def name(self) -> str:
        """As in the settings."""
        ...

    @property
    def commitment(self) -> bool:
        """Whether the destination offers storage commitment."""
        ...

    def deliver(self, row: OutboxRow, files: Sequence[Path]) -> Delivered:
        """Try once, with the files that were not accepted yet.

        Raises:
            CoronetError: the destination could not be reached, or refused all of it.
        """
        ...


class BackOff:
    """How long to wait after the n-th failure: doubling from `FIRST_WAIT_S` to `LONGEST_WAIT_S`, times 0.5 to 1 so that peers spread out.

    Args:
        random: numbers from 0 to 1.
    """

    def __init__(self, *, random: Callable[[], float]) -> None:
        self._random = random

    def wait_s(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row (at least 1)."""
        longest = min(FIRST_WAIT_S * 2.0 ** min(failures - 1, 30), LONGEST_WAIT_S)
        return longest * (0.5 + 0.5 * self._random())


class DestinationWorker:
    """Sends the rows of one destination, one at a time. One thread calls `step` or `run`."""

    def __init__(self, *, channel: Channel, archive: Archive, machine: StudyMachine, back_off: BackOff) -> None:
        self._channel = channel
        self._archive = archive
        self._machine = machine
        self._clock: Clock = archive.clock
        self._back_off = back_off
        self._due: dict[int, float] = {}
        self._failures: dict[int, int] = {}
        self._circuit_failures = 0
        self._circuit_closes_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; a row in hand is finished first."""
        watcher = self._archive.database.watcher()
        while not stop.is_set():
            wait_s = self.step()
            if wait_s > 0:
                watcher.wait(wait_s, stopped=stop.wait)
        watcher.close()

    def step(self) -> float:
        """Send one row if one is due; seconds until it is worth looking again (0: at once)."""
        now = self._clock.monotonic()
        rows = self._archive.outbox.waiting_for(self._channel.name)
        waiting = {row.id for row in rows}
        self._due = {number: due for number, due in self._due.items() if number in waiting}
        if not rows:
            return IDLE_S
        asked_for = next((row for row in rows if row.state == "pending" and row.attempts > 0), None)
        if asked_for is not None:  # a person has looked after the destination and said "retry": no waiting
            self._send(self._archive.outbox.get(asked_for.id))
            return 0.0
        if now < self._circuit_closes_at:
            return self._circuit_closes_at - now
        row = min(rows, key=lambda each: (max(self._due.get(each.id, now), now), not each.urgent, each.id))
        due = self._due.get(row.id, now)
        if due > now:
            return due - now
        self._send(self._archive.outbox.get(row.id))
        return 0.0

    def _send(self, row: OutboxRow) -> None:
        missing = [file for file in row.files if not file.accepted]
        paths = {self._archive.data / file.path: file for file in missing}
        if not all(path.exists() for path in paths):
            self._retry_later(row, MISSING)
            return
        if not paths:  # all were accepted, but the process ended before that was concluded
            self._record(row, Delivered(()), {})
            return
        self._archive.outbox.begin(row.id)
        try:
            delivered = self._channel.deliver(row, list(paths))
        except CoronetError as error:
            log.warning("%s: row %d: %s", self._channel.name, row.id, error)
            self._open_circuit(error.reason)
            self._keep_printed(row, error, list(paths.values()))
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the worker; the row waits visibly and is tried again
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s: row %d: %s\n%s", self._channel.name, row.id, type(error).__name__, frames)  # noqa: TRY400 - no messages
            self._retry_later(row, FAULT)
            return
        self._record(row, delivered, paths)

    def _keep_printed(self, row: OutboxRow, error: CoronetError, files: Sequence[OutboxFile]) -> None:
        """After an error: pages that the printer took are not printed again; a page that may have come out is left to a person."""
        printed = int(error.details.get("pages_printed", 0))
        self._archive.outbox.answered(row.id, answers={file.path: (True, None) for file in files[:printed]})
        if error.details.get("maybe_done"):
            self._archive.outbox.failed(row.id, reason=MAYBE_PRINTED, wait_s=None)
        else:
            self._retry_later(row, error.reason)

    def _record(self, row: OutboxRow, delivered: Delivered, paths: dict[Path, OutboxFile]) -> None:
        """Write down what came of a try, and finish the study if this was its last row."""
        answers = {answer.path: answer for answer in delivered.answers}
        refused = next((answers.get(path) for path in paths if path not in answers or not answers[path].accepted), None)
        complete = all(path in answers and answers[path].accepted for path in paths)
        with self._machine.transaction():
            said = {paths[path].path: answer.record for path, answer in answers.items() if path in paths}
            self._archive.outbox.answered(row.id, answers=said)
            if complete:
                self._archive.outbox.done(row.id, warning=delivered.warning)
                self._finish_study(row)
        if complete:
            self._failures.pop(row.id, None)
            self._close_circuit()
            log.info("%s: row %d done", self._channel.name, row.id)
            return
        if any(answer.status is not None for answer in delivered.answers):
            self._close_circuit()
        else:
            self._open_circuit((refused.reason if refused else None) or REFUSED)
        self._retry_later(row, (refused.reason if refused else None) or REFUSED)

    def _finish_study(self, row: OutboxRow) -> None:
        study = self._archive.studies.get(row.study)
        left = self._archive.outbox.undelivered(row.study, generation=row.generation)
        if row.purpose == "results" and left == 0 and study.state == "delivering" and study.generation == row.generation:
            self._machine.apply(row.study, "delivery_done")

    def _retry_later(self, row: OutboxRow, reason: Reason) -> None:
        failures = self._failures[row.id] = self._failures.get(row.id, row.attempts) + 1
        wait_s = self._back_off.wait_s(failures)
        self._due[row.id] = self._clock.monotonic() + wait_s
        self._archive.outbox.failed(row.id, reason=reason, wait_s=wait_s)

    def _open_circuit(self, reason: Reason) -> None:
        self._circuit_failures += 1
        self._circuit_closes_at = self._clock.monotonic() + self._back_off.wait_s(self._circuit_failures)
        if self._circuit_failures == FAILURES_SHOWN:
            name = self._channel.name
            shown = Reason(reason.code, zh=f"目的地 {name}:{reason.zh}", en=f"destination {name}: {reason.en}")
            self._archive.components.report(component(name), ready=False, reason=shown)

    def _close_circuit(self) -> None:
        if self._circuit_failures >= FAILURES_SHOWN:
            self._archive.components.report(component(self._channel.name), ready=True)
        self._circuit_failures = 0
        self._circuit_closes_at = 0.0


def component(destination: str) -> str:
    """Under which name the state of a destination is shown to people."""
    return f"destination {destination}"


class Delivery:
    """All workers, each in its thread.

    Args:
        archive: the outbox.
        machine: finishes studies.
        channels: the destinations and printers of the settings.
        random: numbers from 0 to 1, for the jitter.
    """

    def __init__(self, *, archive: Archive, machine: StudyMachine, channels: Sequence[Channel], random: Callable[[], float]) -> None:
        self._archive = archive
        self._channels = channels
        back_off = BackOff(random=random)
        self._workers = {
            channel.name: DestinationWorker(channel=channel, archive=archive, machine=machine, back_off=back_off) for channel in channels
        }
        self._machine = machine

    def resume(self) -> None:
        """At start, before `workers` run: rows that were on their way, rows whose destination is gone, studies that lack the last step."""
        self._archive.outbox.resume()
        self._archive.outbox.unreachable(list(self._workers), reason=NOT_CONFIGURED)
        for channel in self._channels:
            self._archive.outbox.offer_commitment(channel.name, offered=channel.commitment)
            self._archive.components.report(component(channel.name), ready=True)
        for study in self._archive.studies.in_state("delivering"):
            if self._archive.outbox.undelivered(study.key, generation=study.generation) == 0:
                try:
                    self._machine.apply(study.key, "delivery_done", generation=study.generation)
                except WorkflowError:
                    log.info("study %s changed", study.key)

    def workers(self) -> dict[str, Callable[[threading.Event], None]]:
        """Name of the destination -> what its thread runs."""
        return {name: worker.run for name, worker in self._workers.items()}
