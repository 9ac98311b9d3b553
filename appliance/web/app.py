"""The DICOMweb paths (PS3.18 10), below ``/dicom-web``.

    GET  /studies, /series, /instances, .../studies/S/series, .../instances    search (QIDO-RS)
    GET  /studies/S, .../series/E, .../instances/I                            files, multipart/related
    GET  .../metadata                                                         DICOM JSON
    GET  .../instances/I/frames/1,2    .../instances/I/bulkdata/7FE00010
    GET  .../instances/I/rendered      .../instances/I/frames/1/rendered      PNG or JPEG, PDF of an encapsulated one
    POST /studies, /studies/S                                                 store (STOW-RS)

``Authorization: Bearer TOKEN``, or a client certificate of the site's authorities. Errors are ``{code, zh, en}``. Answers stream; reading
happens on worker threads, so many at a time and no more.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from appliance.archive.audit import AuditTrail
from appliance.archive.search import Criterion, FoundInstance, Level, SearchIndex
from appliance.archive.studies import study_key
from appliance.archive.tokens import TokenStore, WebToken
from appliance.errors import ApiError, CoronetError, Reason
from appliance.settings import WebSettings
from appliance.web import instances as wado
from appliance.web import multipart, qido
from appliance.web.accept import not_acceptable, wanted
from appliance.web.stow import Storing

ROOT = "/dicom-web"
JSON_TYPES = frozenset({"application/dicom+json", "application/json", "*/*", "application/*"})
CERTIFIED = WebToken(id="certificate", name="client certificate", may_store=True, revoked=False)
PICTURES = {
    "image/png": "image/png",
    "image/jpeg": "image/jpeg",
    "application/pdf": "application/pdf",
    "image/*": "image/jpeg",
    "*/*": "image/jpeg",
}
WORKERS = 8

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


def make_app(settings: WebSettings, *, search: SearchIndex, tokens: TokenStore, audit: AuditTrail, storing: Storing) -> Starlette:
    """The ASGI application.

    Args:
        settings: ``[web]``.
        search: finds studies, series and instances.
        tokens: who may ask.
        audit: what was stored and fetched by whom.
        storing: takes uploads.
    """
    service = _Service(settings=settings, search=search, tokens=tokens, audit=audit, storing=storing)
    return Starlette(
        routes=service.routes(), exception_handlers={CoronetError: _on_error, HTTPException: _on_http_error, Exception: _on_fault}
    )


class _Service:
    def __init__(self, *, settings: WebSettings, search: SearchIndex, tokens: TokenStore, audit: AuditTrail, storing: Storing) -> None:
        self._settings = settings
        self._search = search
        self._tokens = tokens
        self._audit = audit
        self._storing = storing
        self._workers = anyio.CapacityLimiter(WORKERS)

    def routes(self) -> list[Route]:
        """All paths."""
        study, series, instance = (
            "/studies/{study}",
            "/studies/{study}/series/{series}",
            "/studies/{study}/series/{series}/instances/{instance}",
        )
        searches: list[tuple[str, Level]] = [
            ("/studies", "study"), ("/series", "series"), ("/instances", "instance"), (f"{study}/series", "series"),
            (f"{study}/instances", "instance"), (f"{series}/instances", "instance"),
        ]  # fmt: skip
        routes = [Route(ROOT + path, partial(self.find, level=level), methods=["GET"]) for path, level in searches]
        for path in (study, series, instance):
            routes.append(Route(f"{ROOT}{path}", self.retrieve, methods=["GET"]))
            routes.append(Route(f"{ROOT}{path}/metadata", self.metadata, methods=["GET"]))
        return [
            *routes,
            Route(f"{ROOT}{instance}/frames/{{frames}}", self.frames, methods=["GET"]),
            Route(f"{ROOT}{instance}/frames/{{frames}}/rendered", self.render, methods=["GET"]),
            Route(f"{ROOT}{instance}/rendered", self.render, methods=["GET"]),
            Route(f"{ROOT}{instance}/bulkdata/{{tag}}", self.bulk_data, methods=["GET"]),
            Route(f"{ROOT}/studies", self.store, methods=["POST"]),
            Route(f"{ROOT}{study}", self.store, methods=["POST"]),
        ]

    # -- search

    async def find(self, request: Request, *, level: Level) -> Response:
        await self._caller(request)
        if not any(each.media_type in JSON_TYPES for each in wanted(request.headers.get("accept", ""))):
            raise not_acceptable()
        asked = qido.parse(level, request.query_params.multi_items(), request.path_params, maximum=self._settings.maximum_matches)
        headers = {"Warning": f'299 coronet "{asked.warning}"'} if asked.warning else {}
        pieces = qido.answers(self._search, asked, base=_base(request))
        return StreamingResponse(self._pieces(pieces), media_type="application/dicom+json", headers=headers)

    # -- retrieve

    async def retrieve(self, request: Request) -> Response:
        token = await self._caller(request)
        whole_file = "instance" in request.path_params
        for each in wanted(request.headers.get("accept", "")):
            if each.media_type in {"application/dicom", "*/*", "application/*"} and (
                each.multipart or whole_file or "*" in each.media_type
            ):
                break
        else:
            raise not_acceptable()
        syntax = each.transfer_syntax or wado.EXPLICIT_LITTLE_ENDIAN
        found = await self._instances(request)
        known = {wado.AS_STORED, wado.EXPLICIT_LITTLE_ENDIAN}
        if syntax not in known and any(one.transfer_syntax_uid != syntax for one in found):
            raise not_acceptable()
        if "instance" not in request.path_params:
            await self._record(token, "web retrieve", found)
        if whole_file and not each.multipart and each.media_type == "application/dicom":
            body = await self._work(partial(wado.file_of, found[0], syntax))
            return StreamingResponse(self._pieces(body), media_type="application/dicom")
        return self._multipart(_files(found, syntax), "application/dicom")

    async def metadata(self, request: Request) -> Response:
        await self._caller(request)
        if not any(each.media_type in JSON_TYPES for each in wanted(request.headers.get("accept", ""))):
            raise not_acceptable()
        found = await self._instances(request)
        return StreamingResponse(self._pieces(_metadata(found, _base(request))), media_type="application/dicom+json")

    async def frames(self, request: Request) -> Response:
        await self._caller(request)
        wishes = wanted(request.headers.get("accept", ""))
        takes_plain = any(each.media_type in {"application/octet-stream", "*/*"} and each.transfer_syntax != "*" for each in wishes)
        takes_stored = any(each.media_type.startswith("image/") or each.transfer_syntax == "*" for each in wishes)
        if not takes_plain and not takes_stored:
            raise not_acceptable()
        numbers = _numbers(request.path_params["frames"])
        found = (await self._instances(request))[0]
        made = wado.frames_of(found, numbers, stored=takes_stored)
        first = await self._work(partial(next, made))
        media_type = first[0].partition(";")[0]
        return self._multipart(_frame_parts(first, made), media_type)

    async def render(self, request: Request) -> Response:
        await self._caller(request)
        kinds = [each.media_type for each in wanted(request.headers.get("accept", "")) if each.media_type in PICTURES]
        if not kinds:
            raise not_acceptable()
        numbers = _numbers(request.path_params.get("frames", "1"))
        found = (await self._instances(request))[0]
        media_type = PICTURES[kinds[0]]
        if kinds[0] == "*/*" and found.sop_class_uid == "1.2.840.10008.5.1.4.1.1.104.1":
            media_type = "application/pdf"
        quality = _number(request.query_params.get("quality", "90"), low=1, high=100)
        window = _window(request.query_params.get("window"))
        call = partial(wado.rendered, found, frame=numbers[0], media_type=media_type, window=window, quality=int(quality))
        return Response(await self._work(call), media_type=media_type)

    async def bulk_data(self, request: Request) -> Response:
        await self._caller(request)
        found = (await self._instances(request))[0]
        value = await self._work(partial(wado.bulk_data_of, found, request.path_params["tag"]))
        kinds = wanted(request.headers.get("accept", ""))
        if kinds and kinds[0].multipart:
            return self._multipart(iter([multipart.Part("application/octet-stream", [value])]), "application/octet-stream")
        return Response(value, media_type="application/octet-stream")

    # -- store

    async def store(self, request: Request) -> Response:
        token = await self._caller(request)
        if not token.may_store:
            raise ApiError("API-041", zh="该令牌无存储权限", en="this token may not store", status=403)
        boundary = multipart.boundary_of(request.headers.get("content-type", ""))
        pieces = multipart.parts_of(self._arriving(request), boundary)
        upload = await self._storing.take(pieces, study=request.path_params.get("study"))
        studies = sorted({study_key(study) for _, _, study in upload.stored})
        for key in studies:
            await self._work(partial(self._audit.record, actor=f"web:{token.id}", action="web store", study=key))
        log.info("upload: %d stored, %d refused", len(upload.stored), len(upload.failed), extra={"event": "web.stored"})
        body = json.dumps(upload.answer(_base(request)), ensure_ascii=False).encode()
        return Response(body, status_code=upload.http_status, media_type="application/dicom+json")

    async def _arriving(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request; one that is silent for too long is given up."""
        stream = request.stream()
        while True:
            try:
                with anyio.fail_after(self._settings.body_timeout_s):
                    piece = await anext(stream)
            except StopAsyncIteration:
                return
            except (TimeoutError, ClientDisconnect) as error:
                raise ApiError("API-048", zh="上传中断", en="the upload stopped", status=408) from error
            if piece:
                yield piece

    # -- parts

    async def _caller(self, request: Request) -> WebToken:
        """Who asks.

        Raises:
            ApiError: API-040 nobody who may.
        """
        if request.scope.get("coronet.certified"):
            return CERTIFIED
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        token = await self._work(partial(self._tokens.check, secret.strip())) if scheme.lower() == "bearer" and secret else None
        if token is None:
            raise ApiError("API-040", zh="需要有效的访问令牌", en="a valid token is needed", status=401)
        return token

    async def _instances(self, request: Request) -> list[FoundInstance]:
        """The instances of the path, at least one.

        Raises:
            ApiError: API-043 there is none.
        """
        columns = {"study": "study_uid", "series": "series_uid", "instance": "sop_instance_uid"}
        criteria = [Criterion(columns[name], "is", (value,)) for name, value in request.path_params.items() if name in columns]
        found = await self._work(lambda: list(self._search.instances(criteria)))
        if not found:
            raise wado.not_found()
        return found

    async def _record(self, token: WebToken, action: str, found: list[FoundInstance]) -> None:
        key = study_key(found[0].study_uid)
        await self._work(partial(self._audit.record, actor=f"web:{token.id}", action=action, study=key, details={"instances": len(found)}))

    async def _work(self, call: Callable[[], Answer]) -> Answer:
        return await anyio.to_thread.run_sync(call, limiter=self._workers)

    async def _pieces(self, pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
        """Make each piece on a worker thread when the client has taken the one before."""
        iterator = iter(pieces)
        while (piece := await self._work(partial(next, iterator, None))) is not None:
            yield piece

    def _multipart(self, parts: Iterator[multipart.Part], media_type: str) -> Response:
        boundary = multipart.new_boundary()
        kind = f'multipart/related; type="{media_type}"; boundary={boundary}'
        return StreamingResponse(self._pieces(multipart.write(parts, boundary)), headers={"Content-Type": kind})


def _files(found: list[FoundInstance], syntax: str) -> Iterator[multipart.Part]:
    """Files one after another; one that cannot be converted goes as it is stored, rather than break the answer off."""
    for instance in found:
        try:
            body, sent = wado.file_of(instance, syntax), syntax
        except ApiError:
            body, sent = wado.file_of(instance, wado.AS_STORED), wado.AS_STORED
        named = instance.transfer_syntax_uid if sent == wado.AS_STORED else sent
        yield multipart.Part(f"application/dicom; transfer-syntax={named}", body)


def _frame_parts(first: tuple[str, bytes], rest: Iterator[tuple[str, bytes]]) -> Iterator[multipart.Part]:
    yield multipart.Part(first[0], [first[1]])
    for media_type, frame in rest:
        yield multipart.Part(media_type, [frame])


def _metadata(found: list[FoundInstance], base: str) -> Iterator[bytes]:
    yield b"["
    for number, instance in enumerate(found):
        url = f"{base}/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_instance_uid}"
        yield (b"," if number else b"") + json.dumps(wado.metadata_of(instance, url), ensure_ascii=False).encode()
    yield b"]"


def _base(request: Request) -> str:
    """Address of the service as the client reaches it; some clients leave our port out of their Host header."""
    host, server = request.url.netloc, request.scope.get("server")
    usual = {"http": 80, "https": 443}[request.url.scheme]
    if request.url.port is None and server is not None and server[1] != usual:
        host = f"{host}:{server[1]}"
    return f"{request.url.scheme}://{host}{ROOT}"


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if len(text) > 4000 or not all(part.isdecimal() and len(part) < 7 for part in parts):
        raise ApiError("API-042", zh="帧号有误", en="the frame numbers cannot be understood", status=400)
    return [int(part) for part in parts]


def _number(text: str, *, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise ApiError("API-042", zh="参数有误", en="a parameter is no number or out of range", status=400)
    return number


def _window(text: str | None) -> tuple[float, float] | None:
    """``window=centre,width,function`` (PS3.18 8.3.5.1.4)."""
    if text is None:
        return None
    centre, _, rest = text.partition(",")
    return _number(centre, low=-1e6, high=1e6), _number(rest.partition(",")[0], low=1e-3, high=1e6)


async def _on_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, CoronetError):
        raise error
    status = int(error.details.get("status", 500))
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return Response(msgspec.json.encode(error.reason), status_code=status, media_type="application/json", headers=headers)


async def _on_http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    reason = Reason("API-006", zh="没有此接口", en="there is no such path or method")
    return Response(msgspec.json.encode(reason), status_code=status, media_type="application/json")


async def _on_fault(_request: Request, error: Exception) -> Response:
    log.error("fault in DICOMweb: %s", type(error).__name__)
    reason = Reason("API-099", zh="内部错误,请联系工程师", en="internal fault, please call service")
    return Response(msgspec.json.encode(reason), status_code=500, media_type="application/json")
