"""The paths that are about the box and not about studies: its update, and its set-up at the first start.

GET  /v1/update                            UpdateInfo
POST /v1/update                            {command, wish} -> UpdateInfo; wish: look, install, restart, dismiss
GET  /v1/self-test                         SelfTestInfo
POST /v1/self-test                         {command} -> SelfTestInfo; begins one, if none runs
POST /v1/service                           {command} -> ServiceReply; no session: the order is signed, for this box, once
POST /v1/set-up                            SetUpRequest -> SetUpReply; without a session, and only while nobody can sign in
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from appliance.api.messages import (
    CommandRequest,
    SelfTestInfo,
    ServiceReply,
    ServiceRequest,
    Session,
    SetUpReply,
    SetUpRequest,
    UpdateInfo,
    UpdateRequest,
    UpdateWish,
)


class BoxPort(Protocol):
    """The box as the API sees it; errors as for `appliance.api.port.WorkflowPort`."""

    def update(self, session: Session) -> UpdateInfo:
        """Where the update stands, for one person."""
        ...

    def order_update(self, *, session: Session, wish: UpdateWish, command: str) -> UpdateInfo:
        """What a person wants of the update."""
        ...

    def self_test(self, session: Session) -> SelfTestInfo:
        """The last self-test."""
        ...

    def start_self_test(self, session: Session) -> SelfTestInfo:
        """Begin one."""
        ...

    def service(self, command: str) -> ServiceReply:
        """Carry out the order on a service engineer's stick."""
        ...

    def set_up(self, wanted: SetUpRequest) -> bool:
        """Check and keep the settings of a new box and its first person; whether it restarts by itself then."""
        ...


class BoxRoutes:
    """The endpoints.

    Args:
        box: answers everything.
        signed_in: the session of a request, or an error.
        body: the decoded body of a request.
        call: runs a blocking call on a worker thread.
        reply: a message as JSON.
    """

    def __init__(
        self,
        *,
        box: BoxPort,
        signed_in: Callable[[HttpRequest], Awaitable[Session]],
        body: Callable[[HttpRequest, Any], Awaitable[Any]],
        call: Callable[[Callable[[], Any]], Awaitable[Any]],
        reply: Callable[[msgspec.Struct], Response],
    ) -> None:
        self._box = box
        self._signed_in = signed_in
        self._body = body
        self._call = call
        self._reply = reply

    def routes(self) -> list[Route]:
        """For the application."""
        return [
            Route("/v1/update", self._update, methods=["GET"]),
            Route("/v1/update", self._order_update, methods=["POST"]),
            Route("/v1/self-test", self._self_test, methods=["GET"]),
            Route("/v1/self-test", self._start_self_test, methods=["POST"]),
            Route("/v1/service", self._service, methods=["POST"]),
            Route("/v1/set-up", self._set_up, methods=["POST"]),
        ]

    async def _update(self, request: HttpRequest) -> Response:
        session = await self._signed_in(request)
        return self._reply(await self._call(partial(self._box.update, session)))

    async def _order_update(self, request: HttpRequest) -> Response:
        session = await self._signed_in(request)
        body: UpdateRequest = await self._body(request, UpdateRequest)
        return self._reply(await self._call(partial(self._box.order_update, session=session, wish=body.wish, command=body.command)))

    async def _self_test(self, request: HttpRequest) -> Response:
        session = await self._signed_in(request)
        return self._reply(await self._call(partial(self._box.self_test, session)))

    async def _start_self_test(self, request: HttpRequest) -> Response:
        session = await self._signed_in(request)
        await self._body(request, CommandRequest)
        return self._reply(await self._call(partial(self._box.start_self_test, session)))

    async def _service(self, request: HttpRequest) -> Response:
        body: ServiceRequest = await self._body(request, ServiceRequest)
        return self._reply(await self._call(partial(self._box.service, body.command)))

    async def _set_up(self, request: HttpRequest) -> Response:
        wanted: SetUpRequest = await self._body(request, SetUpRequest)
        return self._reply(SetUpReply(restarts=await self._call(partial(self._box.set_up, wanted))))
