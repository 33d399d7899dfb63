"""The endpoints: /metrics, /healthz, /readyz, /status. They read, they change nothing, and they never wait.

With a token who does not show it learns of /healthz and /readyz the status alone, and of the others nothing.
"""

import hmac
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streamrnn.errors import FatalError
from streamrnn.service.listener import Listener
from streamrnn.service.metrics import CONTENT_TYPE

logger = logging.getLogger(__name__)

_LONGEST_LINE = 4096  # bytes of the request line, and of each header
_IDLE = 30.0  # seconds until a connection that asks nothing, or never finishes asking, is closed
_GRACE = 2.0  # seconds that a stop leaves to answers on their way


class Health(Protocol):
    """What the endpoints ask. Each answers at once, from memory."""

    def alive(self) -> str | None:
        """None while the loop and the compute thread turn, else the reason. Knows nothing of the broker."""

    def ready(self) -> str | None:
        """None when the group is joined and every assigned task runs, else the reason."""

    def status(self) -> Mapping[str, object]:
        """`{"tasks": [...], "skill": {...}}`, of what JSON can hold (numpy's numbers included)."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where to listen, and for whom."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    token: str | None = field(default=None, repr=False)
    cert_file: str | None = None  # with it, TLS
    key_file: str | None = None  # None: the key is in cert_file


class HttpServer:
    """Serves until stopped; `start` says where."""

    def __init__(self, settings: HttpSettings, health: Health, render_metrics: Callable[[], bytes]) -> None:
        self._settings = settings
        self._health, self._render_metrics = health, render_metrics
        self._listener: Listener | None = None
        app = web.Application(client_max_size=1, middlewares=[_plain_answers, self._guarded])
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/status", self._status),
            ]
        )
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_server_logger(),
            keepalive_timeout=_IDLE,
            shutdown_timeout=_GRACE,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )

    async def start(self) -> tuple[str, int]:
        """Binds, and returns the address: with port 0 the free one that was found. Raises FatalError."""
        settings = self._settings
        context = _tls(settings)
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        self._listener = listener = Listener(server, context)
        try:
            host, port = await listener.start(settings.host, settings.port)
        except OSError as error:
            await self._runner.cleanup()
            raise FatalError(
                f"http: {settings.host}:{settings.port} cannot be bound: {_reason(error)}. "
                "Give another http.host or http.port (0 for any free one)"
            ) from error
        scheme = "http" if context is None else "https"
        shown = f"[{host}]" if ":" in host else host
        logger.info("listening on %s://%s:%d for /metrics, /healthz, /readyz, /status", scheme, shown, port)
        return host, port

    async def stop(self) -> None:
        """Closes every connection, within some seconds. May be called twice, and without a start."""
        if self._listener is not None:
            await self._listener.stop()
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._render_metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def _healthz(self, request: web.Request) -> web.Response:
        return _verdict(self._health.alive(), told=self._shown(request))

    async def _readyz(self, request: web.Request) -> web.Response:
        return _verdict(self._health.ready(), told=self._shown(request))

    async def _status(self, _: web.Request) -> web.Response:
        body = orjson.dumps(self._health.status(), option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
        return web.Response(body=body, content_type="application/json")

    @web.middleware
    async def _guarded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """A probe has no token, and needs none: its answer is the status."""
        if request.path not in ("/healthz", "/readyz") and not self._shown(request):
            raise web.HTTPUnauthorized
        return await handler(request)

    def _shown(self, request: web.Request) -> bool:
        """Whether the token, if there is one, is there; the time that takes tells nothing of it."""
        token = self._settings.token
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        return token is None or hmac.compare_digest(given, f"Bearer {token}".encode())


def _tls(settings: HttpSettings) -> ssl.SSLContext | None:
    """Raises FatalError where certificate or key cannot be used."""
    if settings.cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # a key with a passphrase would have it asked for at the terminal
        context.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: "")
    except OSError as error:  # ssl.SSLError is one
        files = " and ".join(filter(None, (settings.cert_file, settings.key_file)))
        raise FatalError(
            f"http: certificate and key cannot be read from {files}: {_reason(error)}. Give PEM files without a "
            "passphrase as http.tls_cert_file and http.tls_key_file"
        ) from error
    return context


def _reason(error: OSError) -> str:
    """The system's words without asyncio's, which name the address again."""
    known = error.errno is not None and error.errno > 0  # getaddrinfo has numbers of its own
    return os.strerror(error.errno or 0) if known else error.strerror or str(error)


def _server_logger() -> logging.Logger:
    """A logger that is silent about malformed requests: they are answered with 400, and could fill the log."""
    server_logger = logger.getChild("server")
    server_logger.addFilter(_is_our_fault)
    return server_logger


def _is_our_fault(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _verdict(reason: str | None, *, told: bool) -> web.Response:
    """200 without a reason, 503 with one."""
    if reason is None:
        return web.Response(text="ok\n")
    return web.Response(text=f"{reason}\n" if told else "no\n", status=503)


@web.middleware
async def _plain_answers(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answers say that they are not to be kept, and not which libraries made them."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = web.Response(text=f"{error.status} {error.reason}\n", status=error.status)
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = "GET, HEAD"
        if isinstance(error, web.HTTPUnauthorized):
            response.headers["WWW-Authenticate"] = "Bearer"
    response.headers["Cache-Control"] = "no-store"
    response.headers["Server"] = "streamrnn"
    return response
