"""The mirror's web application: the page, the rail, and a WebSocket for each visitor."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from mirror.errors import MirrorFull, OtherSite, told
from mirror.live import Viewer
from mirror.rail import MAX_UPLOAD_BYTES, Rail
from tryon_client import TryOnClient, TryOnError
from tryon_client.errors import ImageTooLarge

STATIC = Path(__file__).resolve().parent / "static"
MOST_VIEWERS = 24
"""Twenty at once are served, and a few who open the page anew before their old one has gone; of
each at most two frames are with the try-on server, whose queue on a GPU holds 64."""
HEALTH_TIMEOUT = 3.0
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "permissions-policy": "camera=(self), microphone=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def create_app(client: TryOnClient, rail: Rail, *, webrtc: bool = True) -> Starlette:
    """The application.

    Args:
        client: the try-on server, which may be away and come back; the application closes it.
        rail: what there is to wear.
        webrtc: whether a page's offers are answered, where aiortc is installed.
    """
    viewers = 0
    one_at_a_time = anyio.CapacityLimiter(1)  # decoded, a large picture takes half a gigabyte

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def garments(request: Request) -> Response:
        return JSONResponse(rail.listed())

    async def thumbnail(request: Request) -> Response:
        try:
            garment = rail.get(request.path_params["id"])
        except TryOnError as error:
            return _refused(error, 404)
        return Response(garment.thumbnail, media_type="image/jpeg")

    async def bring(request: Request) -> Response:
        """The body is the picture's file; `name` and `category` are in the query."""
        if not _same_site(request):
            return _refused(OtherSite("garments are brought by this mirror's own page"), 403)
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > MAX_UPLOAD_BYTES:
                most = MAX_UPLOAD_BYTES >> 20
                return _refused(ImageTooLarge(f"garment: a file of at most {most} MiB"), 413)
        name, category = (request.query_params.get(key) for key in ("name", "category"))
        try:
            garment = await anyio.to_thread.run_sync(
                rail.bring, bytes(data), name or "", category or "upper", limiter=one_at_a_time
            )
        except TryOnError as error:
            return _refused(error, 422)
        return JSONResponse(garment.listed(), 201)

    async def health(request: Request) -> Response:
        """Whether the try-on server serves: 200, or 503 with what is wrong."""
        try:
            await anyio.to_thread.run_sync(client.check)
        except TryOnError as error:
            return JSONResponse({"ready": False, "problem": told(error)}, 503)
        return JSONResponse({"ready": True, "problem": None})

    async def live(socket: WebSocket) -> None:
        nonlocal viewers
        await socket.accept()
        problem: TryOnError | None = None
        if not _same_site(socket):
            problem = OtherSite("this mirror answers its own page alone")
        elif viewers >= MOST_VIEWERS:
            problem = MirrorFull(f"{viewers} visitors are before the mirror: try again later")
        if problem is not None:
            await socket.send_json({"type": "error", **(told(problem) or {})})
            await socket.close(1008 if isinstance(problem, OtherSite) else 1013)
            return
        viewers += 1
        try:
            await Viewer(socket, client, rail, webrtc=webrtc).run()
        finally:
            viewers -= 1

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        client.close()

    return Starlette(
        routes=[
            Route("/", page),
            Route("/healthz", health),
            Route("/garments", garments, methods=["GET"]),
            Route("/garments", bring, methods=["POST"]),
            Route("/garments/{id}/thumbnail", thumbnail),
            WebSocketRoute("/live", live),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(_Headers)],
        lifespan=lifespan,
    )


def _refused(error: TryOnError, status: int) -> Response:
    return JSONResponse({"error": told(error)}, status)


def _same_site(connection: HTTPConnection) -> bool:
    """Whether the page that sends this is the mirror's own, or no browser's page at all.

    A browser lets any page open a WebSocket to this machine, and names that page's site.
    """
    origin = connection.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == connection.headers.get("host")


class _Headers:
    """Keeps pages and garments out of the browser's disk cache, and other sites out of the page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                static = scope["path"].startswith("/static/") or scope["path"] == "/"
                headers["cache-control"] = "no-cache" if static else "no-store"
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
