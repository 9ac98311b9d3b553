"""The HTTP interface: paths, sessions, typed errors, pictures and the long poll.

    GET  /v1/info                              which appliance; the only path without a session besides sign-in and badge
    POST /v1/sign-in                           {pin} -> Session
    GET  /v1/badge[?timeout=S]                 held until a badge is shown -> Session; 204 if none was, 404 without a reader
    POST /v1/sign-out
    GET  /v1/session                           the session of the token
    GET  /v1/snapshot                          Snapshot
    GET  /v1/events?after=N[&timeout=S]        EventsReply, held until something happens; 410 on a gap
    GET  /v1/studies?text=&states=&from=&to=&urgent=&offset=&limit=   StudyPage
    GET  /v1/studies/{key}                     StudyDetail
    GET  /v1/studies/{key}/pictures/{id}       PNG with ETag; 304 when the client has it
    POST /v1/studies/{key}/corrections         {command, revision, lesion, grade} -> StudyDetail
    POST /v1/studies/{key}/names               {command, revision, branch, segment, name} -> StudyDetail
    POST /v1/studies/{key}/dominance           {command, revision, dominance} -> StudyDetail
    POST /v1/studies/{key}/modifiers           {command, revision, ischaemia, grafts, exceptions} -> StudyDetail
    POST /v1/studies/{key}/approve             {command, revision} -> StudyDetail
    POST /v1/studies/{key}/undo                {command} -> StudyDetail
    POST /v1/studies/{key}/retry               {command, waiting} -> StudyDetail
    POST /v1/studies/{key}/send-again          {command, to} -> StudyDetail
    POST /v1/studies/{key}/protect             {command, protected} -> StudyDetail

``Authorization: Bearer TOKEN`` carries the session. Every error is ``{code, zh, en}``. Work is bounded: request bodies in size and time,
calls into the workflow in number and time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from appliance.api.box_routes import BoxPort, BoxRoutes
from appliance.api.messages import (
    MAXIMUM_POLL_S,
    STUDY_STATES,
    ApplianceInfo,
    ApproveRequest,
    CommandRequest,
    CorrectionRequest,
    DominanceRequest,
    Entered,
    ErrorReply,
    EventsReply,
    ModifiersRequest,
    ProtectRequest,
    RenameRequest,
    RetryRequest,
    SendAgainRequest,
    Session,
    SignInRequest,
)
from appliance.api.port import WorkflowPort
from appliance.errors import ApiError, CoronetError, WorkflowError

MAXIMUM_BODY_BYTES = 16 * 1024
BODY_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 30.0
MAXIMUM_PAGE = 200
MAXIMUM_SEARCH_TEXT = 100
POLL_SLICE_S = 0.5
"""A long poll asks the workflow in slices, so that a client that left and a server that stops are noticed within one slice."""

STATUS_OF_KIND = {"not_found": 404, "forbidden": 403, "unauthenticated": 401, "busy": 429, "conflict": 409, "gone": 410}

logger = logging.getLogger(__name__)
Reply = TypeVar("Reply")
Body = TypeVar("Body")


def make_app(
    workflow: WorkflowPort,
    *,
    info: ApplianceInfo | Callable[[], ApplianceInfo] | None = None,
    box: BoxPort | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Starlette:
    """The ASGI application over a workflow.

    Args:
        workflow: answers everything.
        info: what ``/v1/info`` tells.
        box: update and set-up of the box; without it there are no such paths.
        clock: monotonic seconds, for the long poll.
    """
    told = info if callable(info) else lambda: info or ApplianceInfo()
    interface = _Interface(workflow=workflow, info=told, clock=clock)
    about_box = BoxRoutes(box=box, signed_in=interface.signed_in, body=_body, call=interface.call, reply=_json).routes() if box else []
    app = Starlette(routes=[*interface.routes(), *about_box], exception_handlers=_exception_handlers())
    app.state.closing = False
    return app


class _Interface:
    """The endpoints. Calls and polls have limiters of their own, so that polling clients never hold up a command."""

    def __init__(self, *, workflow: WorkflowPort, info: Callable[[], ApplianceInfo], clock: Callable[[], float]) -> None:
        self._workflow = workflow
        self._info = info
        self._clock = clock
        self._calls = anyio.CapacityLimiter(8)
        self._polls = anyio.CapacityLimiter(16)

    def routes(self) -> list[Route]:
        study = "/v1/studies/{key}"
        return [
            Route("/v1/info", self.info, methods=["GET"]),
            Route("/v1/sign-in", self.sign_in, methods=["POST"]),
            Route("/v1/badge", self.badge, methods=["GET"]),
            Route("/v1/sign-out", self.sign_out, methods=["POST"]),
            Route("/v1/session", self.session, methods=["GET"]),
            Route("/v1/snapshot", self.snapshot, methods=["GET"]),
            Route("/v1/events", self.events, methods=["GET"]),
            Route("/v1/studies", self.search, methods=["GET"]),
            Route(study, self.study, methods=["GET"]),
            Route(f"{study}/pictures/{{picture}}", self.picture, methods=["GET"]),
            Route(f"{study}/corrections", self.correct, methods=["POST"]),
            Route(f"{study}/names", self.rename, methods=["POST"]),
            Route(f"{study}/dominance", self.dominance, methods=["POST"]),
            Route(f"{study}/modifiers", self.modifiers, methods=["POST"]),
            Route(f"{study}/approve", self.approve, methods=["POST"]),
            Route(f"{study}/undo", self.undo, methods=["POST"]),
            Route(f"{study}/retry", self.retry, methods=["POST"]),
            Route(f"{study}/send-again", self.send_again, methods=["POST"]),
            Route(f"{study}/protect", self.protect, methods=["POST"]),
        ]

    async def info(self, _request: HttpRequest) -> Response:
        return _json(self._info())

    async def sign_in(self, request: HttpRequest) -> Response:
        body = await _body(request, SignInRequest)
        try:
            session = await self.call(partial(self._workflow.sign_in, body.pin))
        except WorkflowError as error:
            return _error(error, default=401)
        return _json(session)

    async def badge(self, request: HttpRequest) -> Response:
        end = self._clock() + _number(request, "timeout", default=MAXIMUM_POLL_S, low=0, high=MAXIMUM_POLL_S)
        while True:
            wait_s = max(min(POLL_SLICE_S, end - self._clock()), 0.0)
            try:
                session = await self.call(partial(self._workflow.sign_in_by_badge, timeout_s=wait_s), limiter=self._polls)
            except WorkflowError as error:
                return _error(error, default=401)
            if session is not None:
                return _json(session)
            if self._clock() >= end or request.app.state.closing or await request.is_disconnected():
                return Response(status_code=204)

    async def sign_out(self, request: HttpRequest) -> Response:
        session = await self.signed_in(request)
        await self.call(partial(self._workflow.sign_out, session.token))
        return Response(status_code=204)

    async def session(self, request: HttpRequest) -> Response:
        return _json(await self.signed_in(request))

    async def snapshot(self, request: HttpRequest) -> Response:
        await self.signed_in(request)
        return _json(await self.call(self._workflow.snapshot))

    async def events(self, request: HttpRequest) -> Response:
        await self.signed_in(request)
        after = _number(request, "after", default=None, low=0, high=2**53)
        wait_s = _number(request, "timeout", default=MAXIMUM_POLL_S, low=0, high=MAXIMUM_POLL_S)
        end = self._clock() + wait_s
        while True:
            slice_s = max(min(POLL_SLICE_S, end - self._clock()), 0.0)
            poll = partial(self._workflow.events_after, int(after), timeout_s=slice_s)
            events = await self.call(poll, limiter=self._polls)
            if events is None:
                raise ApiError("API-010", zh="事件已过期,请重新取快照", en="events were dropped, take a new snapshot", kind="gone")
            if events or self._clock() >= end or request.app.state.closing or await request.is_disconnected():
                return _json(EventsReply(events=tuple(events)))

    async def study(self, request: HttpRequest) -> Response:
        await self.signed_in(request)
        return _json(await self.call(partial(self._workflow.study, request.path_params["key"])))

    async def picture(self, request: HttpRequest) -> Response:
        await self.signed_in(request)
        path = await self.call(partial(self._workflow.picture, request.path_params["key"], request.path_params["picture"]))
        try:
            status = await anyio.Path(path).stat()
        except OSError as error:
            raise ApiError("API-011", zh="图像文件不存在", en="the picture's file is missing", kind="not_found") from error
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        headers = {"Cache-Control": "private, no-cache", "ETag": tag}
        if tag in [known.strip() for known in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return FileResponse(path, media_type="image/png", headers=headers, stat_result=status)

    async def correct(self, request: HttpRequest) -> Response:
        session, body = await self._command(request, CorrectionRequest)
        call = partial(
            self._workflow.correct,
            session=session,
            study=request.path_params["key"],
            revision=body.revision,
            lesion=body.lesion,
            grade=body.grade,
            command=body.command,
        )
        return _json(await self.call(call))

    async def rename(self, request: HttpRequest) -> Response:
        session, body = await self._command(request, RenameRequest)
        call = partial(
            self._workflow.rename,
            session=session,
            study=request.path_params["key"],
            revision=body.revision,
            branch=body.branch,
            segment=body.segment,
            name=body.name,
            command=body.command,
        )
        return _json(await self.call(call))

    async def dominance(self, request: HttpRequest) -> Response:
        session, body = await self._command(request, DominanceRequest)
        study, change = request.path_params["key"], self._workflow.set_dominance
        call = partial(change, session=session, study=study, revision=body.revision, dominance=body.dominance, command=body.command)
        return _json(await self.call(call))

    async def modifiers(self, request: HttpRequest) -> Response:
        session, body = await self._command(request, ModifiersRequest)
        entered = Entered(ischaemia=body.ischaemia, grafts=body.grafts, exceptions=body.exceptions)
        study, change = request.path_params["key"], self._workflow.enter_modifiers
        call = partial(change, session=session, study=study, revision=body.revision, entered=entered, command=body.command)
        return _json(await self.call(call))

    async def approve(self, request: HttpRequest) -> Response:
        session, body = await self._command(request, ApproveRequest)
        study = request.path_params["key"]
        call = partial(self._workflow.approve, session=session, study=study, revision=body.revision, command=body.command)
        return _json(await self.call(call))

    async def undo(self, request: HttpRequest) -> Response:
        session, body = await self._command(request, CommandRequest)
        call = partial(self._workflow.undo, session=session, study=request.path_params["key"], command=body.command)
        return _json(await self.call(call))

    async def retry(self, request: HttpRequest) -> Response:
        session, body = await self._command(request, RetryRequest)
        key = request.path_params["key"]
        call = partial(self._workflow.retry, session=session, study=key, command=body.command, waiting=body.waiting)
        return _json(await self.call(call))

    async def send_again(self, request: HttpRequest) -> Response:
        session, body = await self._command(request, SendAgainRequest)
        call = partial(self._workflow.send_again, session=session, study=request.path_params["key"], to=body.to, command=body.command)
        return _json(await self.call(call))

    async def search(self, request: HttpRequest) -> Response:
        await self.signed_in(request)
        asked = request.query_params
        dates = [asked.get(name, "") for name in ("from", "to")]
        states = [state for state in STUDY_STATES if state in asked.get("states", "").split(",")]
        if any(date and (len(date) != 8 or not date.isdecimal()) for date in dates) or len(asked.get("text", "")) > MAXIMUM_SEARCH_TEXT:
            raise ApiError("API-005", zh="查询参数有误", en="a parameter of the search is out of range", status=400)
        call = partial(
            self._workflow.search,
            text=asked.get("text", ""),
            states=states,
            from_date=dates[0],
            to_date=dates[1],
            urgent=asked.get("urgent") == "1",
            offset=int(_number(request, "offset", default=0, low=0, high=2**31)),
            limit=int(_number(request, "limit", default=50, low=1, high=MAXIMUM_PAGE)),
        )
        return _json(await self.call(call))

    async def protect(self, request: HttpRequest) -> Response:
        session, body = await self._command(request, ProtectRequest)
        study = request.path_params["key"]
        call = partial(self._workflow.protect, session=session, study=study, protected=body.protected, command=body.command)
        return _json(await self.call(call))

    async def _command(self, request: HttpRequest, kind: type[Body]) -> tuple[Session, Body]:
        session = await self.signed_in(request)
        return session, await _body(request, kind)

    async def signed_in(self, request: HttpRequest) -> Session:
        """The session of the request's token.

        Raises:
            ApiError: no token, or no session with it (401).
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        session = await self.call(partial(self._workflow.session, token)) if scheme.lower() == "bearer" and token else None
        if session is None:
            raise ApiError("API-001", zh="请先登录", en="sign in first", kind="unauthenticated")
        return session

    async def call(self, call: Callable[[], Reply], *, limiter: anyio.CapacityLimiter | None = None) -> Reply:
        """Run a blocking call on a worker thread, for at most CALL_TIMEOUT_S.

        A call that is given up goes on in its thread (a command that was taken is finished and can be asked for again by its key).
        """
        try:
            with anyio.fail_after(CALL_TIMEOUT_S):
                return await anyio.to_thread.run_sync(call, limiter=limiter or self._calls, abandon_on_cancel=True)
        except TimeoutError as error:
            raise ApiError("API-012", zh="系统忙,请稍后再试", en="the appliance is busy, try again", kind="busy") from error


async def _body(request: HttpRequest, kind: type[Body]) -> Body:
    """The decoded request body.

    Raises:
        ApiError: too long (413), too slow (408), or not of the shape (400).
    """
    data = bytearray()
    try:
        with anyio.fail_after(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > MAXIMUM_BODY_BYTES:
                    raise ApiError("API-002", zh="请求过大", en="the request is too large", status=413)
    except TimeoutError as error:
        raise ApiError("API-003", zh="请求超时", en="the request did not arrive in time", status=408) from error
    try:
        return msgspec.json.decode(bytes(data), type=kind)
    except msgspec.DecodeError as error:
        # a ValidationError is a DecodeError; its message names the field, never its value
        raise ApiError("API-004", zh=f"请求格式有误:{error}", en=f"the request is malformed: {error}", status=400) from error


def _number(request: HttpRequest, name: str, *, default: float | None, low: float, high: float) -> float:
    """A number from the query.

    Raises:
        ApiError: it is missing without a default, or not a number between the bounds (400).
    """
    text = request.query_params.get(name)
    try:
        number = default if text is None else float(text)
    except ValueError:
        number = None
    if number is None or not low <= number <= high:
        raise ApiError("API-005", zh=f"参数 {name} 有误", en=f"the parameter {name} is missing or out of range", status=400)
    return number


def _json(message: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(message), media_type="application/json", headers={"Cache-Control": "no-store"})


def _error(error: CoronetError, *, default: int) -> Response:
    status = error.details.get("status") if isinstance(error, ApiError) else None
    status = status or STATUS_OF_KIND.get(str(error.details.get("kind")), default)
    body = msgspec.json.encode(ErrorReply(code=error.code, zh=error.zh, en=error.en))
    return Response(body, status_code=status, media_type="application/json", headers={"Cache-Control": "no-store"})


def _exception_handlers() -> dict[Any, Callable[[HttpRequest, Exception], Awaitable[Response]]]:
    return {CoronetError: _on_coronet_error, HTTPException: _on_http_error, ClientDisconnect: _on_disconnect, Exception: _on_fault}


async def _on_coronet_error(_request: HttpRequest, error: Exception) -> Response:
    if not isinstance(error, CoronetError):
        raise error
    default = {WorkflowError: 409, ApiError: 400}.get(type(error), 500)
    if default == 500:
        logger.error("%s: %s", error.code, error.en)
    return _error(error, default=default)


async def _on_http_error(_request: HttpRequest, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    typed = ApiError("API-006", zh="没有此接口", en="there is no such path or method", status=status)
    return _error(typed, default=status)


async def _on_disconnect(_request: HttpRequest, _error: Exception) -> Response:
    return Response(status_code=400)


async def _on_fault(_request: HttpRequest, error: Exception) -> Response:
    """A fault of ours: the log has the trace, the person a sentence."""
    logger.error("fault in the API", exc_info=error)
    return _error(ApiError("API-099", zh="内部错误,请联系工程师", en="internal fault, please call service"), default=500)
