"""The endpoints: /metrics, /healthz, /readyz, /status. They read, they change nothing, and they never wait."""

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streamrnn.errors import FatalError
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


class HttpServer:
    """Serves until stopped; `start` says where."""

    def __init__(self, host: str, port: int, health: Health, render_metrics: Callable[[], bytes]) -> None:
        self._host, self._port = host, port
        self._health, self._render_metrics = health, render_metrics
        app = web.Application(client_max_size=1, middlewares=[_plain_answers])
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
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise FatalError(
                f"http: {self._host}:{self._port} cannot be bound: {_reason(error)}. "
                "Give another http.host or http.port (0 for any free one)"
            ) from error
        host, port = self._runner.addresses[0][:2]
        logger.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        return host, port

    async def stop(self) -> None:
        """Closes every connection, within some seconds. May be called twice, and without a start."""
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._render_metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def _healthz(self, _: web.Request) -> web.Response:
        return _verdict(self._health.alive())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _verdict(self._health.ready())

    async def _status(self, _: web.Request) -> web.Response:
        body = orjson.dumps(self._health.status(), option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
        return web.Response(body=body, content_type="application/json")


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


def _verdict(reason: str | None) -> web.Response:
    """200 without a reason, 503 with one."""
    return web.Response(text="ok\n") if reason is None else web.Response(text=f"{reason}\n", status=503)


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
    response.headers["Cache-Control"] = "no-store"
    response.headers["Server"] = "streamrnn"
    return response
