"""The kiosk's only network: one thread, HTTP over the appliance's Unix socket.

The screen never waits: it hands requests over and takes what was received from a queue, once per frame. The thread connects for ever
with a capped back-off, keeps the worklist current (a snapshot, then numbered changes by long poll, a new snapshot after a gap), gives
every request an id and a deadline, and fails open questions at once when the connection is lost. Commands carry a key made by the caller
and are sent again with the same key until they are answered or their time is up, so a tap during a disconnect is neither lost nor done
twice.
"""

from __future__ import annotations

import asyncio
import io
import queue
import random
import threading
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec
from PIL import Image

from appliance.api.messages import (
    ApplianceInfo,
    ErrorReply,
    EventsReply,
    SelfTestInfo,
    ServiceReply,
    Session,
    SetUpReply,
    SignInRequest,
    Snapshot,
    StudyDetail,
    StudyPage,
    UpdateInfo,
)
from kiosk.exchange import (
    Answered,
    Ask,
    BoxAsk,
    Command,
    EventsReceived,
    FetchPicture,
    FetchStudy,
    FindStudies,
    KeyReply,
    Lost,
    Offline,
    Online,
    Received,
    Refused,
    SendRecoveryKey,
    SessionEnded,
    SignIn,
    SnapshotReceived,
)
from kiosk.key_door import DOOR, send_recovery_key
from kiosk.state import Picture, Pixels

POLL_S = 10.0
SNAPSHOT_EVERY_S = 15.0
IDLE_CHECK_S = 2.0
BY_BADGE = 0
"""Number of the answer to a `SignIn` that nobody sent: requests count from 1."""
REQUEST_S = 15.0
MAXIMUM_OPEN = 256
BUSY = "API-012"
"""The appliance goes on with a command that takes long, and can be asked for it again by its key."""
RUN = Path("/run")
BOOT_FAULT = Path("coronet-boot/fault")
"""In that folder, what stopped the start of the box."""
THUMBNAIL = 200

Value = Session | StudyDetail | StudyPage | Picture | UpdateInfo | SetUpReply | ServiceReply | SelfTestInfo | KeyReply | None
AnyMessage = TypeVar("AnyMessage", bound=msgspec.Struct)
Reply = TypeVar("Reply")


class _RefusedError(Exception):
    """An error reply."""

    def __init__(self, status: int, error: ErrorReply) -> None:
        super().__init__(error.code)
        self.status = status
        self.error = error


class Client:
    """The thread and its two queues. ``start`` and ``stop`` once each.

    Args:
        socket: the appliance's.
        run: the folder of what runs: the code of what stopped the box's start, where something did (`boot_fault`), and the door to its key.
        jitter: a number from 0 to 1, for the waits between tries.
    """

    def __init__(self, *, socket: Path, run: Path = RUN, jitter: Callable[[], float] = random.random) -> None:
        self._socket = socket
        self._boot_fault = run / BOOT_FAULT
        self._door = run / DOOR
        self._jitter = jitter
        self._inbox: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)
        self._ids = 0
        self._token: str | None = None
        self._badge_reader = False
        self._token_changed = asyncio.Event()
        self._tasks: dict[asyncio.Task[None], Ask] = {}
        self._main_task: asyncio.Task[None] | None = None
        self._http: httpx.AsyncClient

    def start(self) -> None:
        """Start the thread; it connects by itself."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and every open request."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join(5)

    def send(self, ask: Ask) -> int:
        """Hand a request over, return its id; never waits."""
        self._ids += 1
        self._loop.call_soon_threadsafe(self._accept, self._ids, ask)
        return self._ids

    def drain(self) -> list[Received]:
        """Everything received since the last call, in order; never waits."""
        received: list[Received] = []
        while True:
            try:
                received.append(self._inbox.get_nowait())
            except queue.Empty:
                return received

    # below: on the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._main_task = self._loop.create_task(self._main())
        try:
            self._loop.run_until_complete(self._main_task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    def _cancel(self) -> None:
        if self._main_task is not None:
            self._main_task.cancel()

    async def _main(self) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(self._socket), limits=httpx.Limits(max_connections=8))
        async with httpx.AsyncClient(transport=transport, base_url="http://coronet", timeout=REQUEST_S) as http:
            self._http = http
            try:
                await self._keep_current()
            finally:
                for task in list(self._tasks):
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_current(self) -> None:
        """Connect, follow the worklist, begin again when the connection is lost; for ever."""
        backoff = _Backoff(jitter=self._jitter)
        while True:
            try:
                self._inbox.put(Online(info=await self._get("/v1/info", ApplianceInfo)))
                backoff.reset()
                while True:
                    if self._token is None:
                        await self._idle()
                    else:
                        await self._follow(self._token)
            except (httpx.HTTPError, _RefusedError, msgspec.DecodeError):
                self._drop_questions()
                self._inbox.put(Offline(fault=boot_fault(self._boot_fault)))
                await asyncio.sleep(backoff.next())

    async def _idle(self) -> None:
        """Nobody is signed in: see from time to time whether the appliance is still there."""
        waiting = self._await_badge() if self._badge_reader else self._token_changes_within(IDLE_CHECK_S)
        if not await waiting:
            info = await self._get("/v1/info", ApplianceInfo)
            self._badge_reader = info.badge_reader
            self._inbox.put(Online(info=info))

    async def _await_badge(self) -> bool:
        """Whether somebody signs in meanwhile: by a badge, which is reported as an answered `SignIn`, or by PIN."""
        self._token_changed.clear()
        if self._token is not None:
            return True
        try:
            response = await self._unless_token_changes(self._http.get(f"/v1/badge?timeout={IDLE_CHECK_S}"))
            if response is not None and response.status_code != 204 and self._token is None:
                session = msgspec.json.decode(_check(response), type=Session)
                self._use(session.token)
                self._inbox.put(Answered(BY_BADGE, SignIn(""), session))
        except _RefusedError as refusal:
            if refusal.status != 401:
                raise
            self._inbox.put(Refused(BY_BADGE, SignIn(""), refusal.error))
        return self._token is not None

    async def _follow(self, token: str) -> None:
        """One snapshot and its changes, until it is old, a gap appears, or the session changes."""
        self._token_changed.clear()
        try:
            snapshot = await self._get("/v1/snapshot", Snapshot)
            if self._token == token:
                self._inbox.put(SnapshotReceived(snapshot))
            number = snapshot.number
            end = self._loop.time() + SNAPSHOT_EVERY_S
            while self._token == token and self._loop.time() < end:
                events = await self._unless_token_changes(self._get(f"/v1/events?after={number}&timeout={POLL_S}", EventsReply))
                if events is not None and self._token == token:
                    self._inbox.put(EventsReceived(events.events))
                    number = events.events[-1].number if events.events else number
        except _RefusedError as refusal:
            if refusal.status == 401:
                self._end_session(token)
            elif refusal.status != 410:
                raise

    def _end_session(self, token: str) -> None:
        if self._token == token:
            self._token = None
            self._inbox.put(SessionEnded())

    async def _token_changes_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._token_changed.wait(), seconds)
        except TimeoutError:
            return False
        self._token_changed.clear()
        return True

    async def _unless_token_changes(self, poll: Coroutine[Any, Any, Reply]) -> Reply | None:
        """The poll's answer, or None as soon as the person signs out or another one in."""
        polling = asyncio.ensure_future(poll)
        changing = asyncio.ensure_future(self._token_changed.wait())
        try:
            await asyncio.wait({polling, changing}, return_when=asyncio.FIRST_COMPLETED)
            return polling.result() if polling.done() else None
        finally:
            polling.cancel()
            changing.cancel()
            await asyncio.gather(polling, changing, return_exceptions=True)

    def _accept(self, number: int, ask: Ask) -> None:
        if len(self._tasks) >= MAXIMUM_OPEN:
            self._inbox.put(Lost(number, ask))
            return
        task = self._loop.create_task(self._carry_out(number, ask))
        self._tasks[task] = ask
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def _drop_questions(self) -> None:
        """The connection is gone: open questions fail now, commands go on trying until their deadline."""
        for task, ask in self._tasks.items():
            if not ask.insists and not isinstance(ask, SendRecoveryKey):
                task.cancel()

    async def _carry_out(self, number: int, ask: Ask) -> None:
        token = self._token
        try:
            value = await asyncio.wait_for(self._insist(ask) if ask.insists else self._question(ask), ask.deadline_s)
            self._inbox.put(Answered(number, ask, value))
        except _RefusedError as refusal:
            if refusal.status == 401 and token is not None:
                self._end_session(token)
            self._inbox.put(Refused(number, ask, refusal.error))
        except (httpx.HTTPError, msgspec.DecodeError, OSError):  # a TimeoutError is one
            self._inbox.put(Lost(number, ask))
        except asyncio.CancelledError:
            self._inbox.put(Lost(number, ask))
            raise

    async def _question(self, ask: Ask) -> Value:
        if isinstance(ask, SignIn):
            session = await self._post("/v1/sign-in", SignInRequest(pin=ask.pin), Session)
            self._use(session.token)
            return session
        if isinstance(ask, FetchStudy):
            return await self._get(f"/v1/studies/{quote(ask.key, safe='')}", StudyDetail)
        if isinstance(ask, FetchPicture):
            return await self._picture(ask)
        if isinstance(ask, FindStudies):
            return await self._find(ask)
        if isinstance(ask, Command):
            return await self._post(f"/v1/studies/{quote(ask.key, safe='')}/{ask.verb}", ask.body(), StudyDetail)
        if isinstance(ask, SendRecoveryKey):
            return await self._unlocked(ask)
        if isinstance(ask, BoxAsk):
            body = ask.body()
            return await (self._get(ask.path, ask.reply) if body is None else self._post(ask.path, body, ask.reply))
        headers = self._headers()
        self._use(None)
        await self._http.post("/v1/sign-out", headers=headers)
        return None

    def _use(self, token: str | None) -> None:
        self._token = token
        self._token_changed.set()

    async def _insist(self, ask: Ask) -> Value:
        """Send a command until it is answered."""
        backoff = _Backoff(jitter=self._jitter)
        while True:
            try:
                return await self._question(ask)
            except _RefusedError as refusal:
                if refusal.error.code != BUSY or not isinstance(ask, BoxAsk):
                    raise
            except httpx.HTTPError:
                pass
            await asyncio.sleep(backoff.next())

    async def _unlocked(self, ask: SendRecoveryKey) -> KeyReply:
        reply = await send_recovery_key(self._door, ask.words)
        if isinstance(reply, ErrorReply):
            raise _RefusedError(HTTPStatus.FORBIDDEN, reply)
        return reply

    async def _find(self, ask: FindStudies) -> StudyPage:
        asked = {
            "text": ask.text, "states": ",".join(ask.states), "from": ask.since, "urgent": str(int(ask.urgent)), "offset": str(ask.offset),
            "limit": str(ask.limit),
        }  # fmt: skip
        return await self._get(f"/v1/studies?{urlencode(asked)}", StudyPage)

    async def _picture(self, ask: FetchPicture) -> Picture | None:
        headers = self._headers() | ({"If-None-Match": ask.tag} if ask.tag else {})
        path = f"/v1/studies/{quote(ask.key, safe='')}/pictures/{quote(ask.picture, safe='')}"
        response = await self._http.get(path, headers=headers)
        if response.status_code == 304:
            return None
        _check(response)
        return await asyncio.to_thread(_decode, response.content, response.headers.get("etag", ""))

    async def _get(self, path: str, kind: type[AnyMessage]) -> AnyMessage:
        response = await self._http.get(path, headers=self._headers())
        return msgspec.json.decode(_check(response), type=kind)

    async def _post(self, path: str, body: msgspec.Struct, kind: type[AnyMessage]) -> AnyMessage:
        headers = self._headers() | {"Content-Type": "application/json"}
        response = await self._http.post(path, content=msgspec.json.encode(body), headers=headers)
        return msgspec.json.decode(_check(response), type=kind)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


class _Backoff:
    """0.25 s, doubling to 5 s, each shortened by up to half at random so that clients do not march in step."""

    def __init__(self, *, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._next = 0.25

    def next(self) -> float:
        wait = self._next * (1 - 0.5 * self._jitter())
        self._next = min(self._next * 2, 5.0)
        return wait

    def reset(self) -> None:
        self._next = 0.25


def boot_fault(path: Path) -> str:
    """Code of what stopped the box's start before the appliance could come up, as the image's ``open-data`` leaves it; or nothing."""
    try:
        return path.read_text("ascii", errors="replace").strip()[:20]
    except OSError:
        return ""


def _check(response: httpx.Response) -> bytes:
    """The body of a good reply.

    Raises:
        _RefusedError: the reply is an error.
    """
    if response.status_code < 400:
        return response.content
    try:
        error = msgspec.json.decode(response.content, type=ErrorReply)
    except msgspec.DecodeError:
        status = response.status_code
        error = ErrorReply(code=f"HTTP-{status}", zh="主机忙,请稍后再试", en="the appliance is busy, try again")
    raise _RefusedError(response.status_code, error)


def _decode(png: bytes, tag: str) -> Picture:
    """Pixels and a thumbnail of a PNG; without pixels if it cannot be read (the screen says so in its place)."""
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            full = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Picture(tag=tag, pixels=None, thumbnail=None)
    small = full.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return Picture(tag=tag, pixels=_pixels(full), thumbnail=_pixels(small))


def _pixels(image: Image.Image) -> Pixels:
    return Pixels(width=image.width, height=image.height, rgb=image.tobytes())
