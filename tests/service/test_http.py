"""The endpoints, asked over real connections."""

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import aiohttp
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamrnn.errors import FatalError
from streamrnn.service import http, listener
from streamrnn.service.http import HttpServer, HttpSettings
from streamrnn.service.metrics import CONTENT_TYPE, Metrics
from tests.kafka.guarded import Certificates

T = TypeVar("T")


class Worker:
    """A worker's health, as a test wants it."""

    def __init__(self, alive: str | None = None, ready: str | None = None) -> None:
        self._alive, self._ready = alive, ready

    def alive(self) -> str | None:
        return self._alive

    def ready(self) -> str | None:
        return self._ready

    def status(self) -> Mapping[str, object]:
        task = {"topic": "sensors", "partition": 3, "state": "running", "position": np.int64(7), "lag": None}
        return {"tasks": [task], "skill": {1: np.float64(0.31)}}


def served(
    ask: Callable[[str], Awaitable[T]], worker: Worker | None = None, settings: HttpSettings | None = None
) -> T:
    """What asking gives while the endpoints are served; asked with their base address."""

    async def serve() -> T:
        metrics = Metrics(version="1", backend="numpy", cell="gru", horizons=[1])
        server = HttpServer(settings or HttpSettings(), worker or Worker(), metrics.render)
        host, port = await server.start()
        try:
            return await asyncio.wait_for(ask(f"http://{host}:{port}"), 20)
        finally:
            await server.stop()

    return asyncio.run(serve())


def get(path: str, worker: Worker | None = None, method: str = "GET") -> tuple[int, str, Mapping[str, str]]:
    async def ask(base: str) -> tuple[int, str, Mapping[str, str]]:
        async with aiohttp.ClientSession() as session, session.request(method, base + path) as response:
            return response.status, await response.text(), response.headers

    return served(ask, worker)


def test_metrics_are_in_the_text_format_of_prometheus() -> None:
    status, text, headers = get("/metrics")
    assert (status, headers["Content-Type"]) == (200, CONTENT_TYPE)
    assert "streamrnn_build_info" in {family.name for family in text_string_to_metric_families(text)}


def test_health_is_200_while_the_worker_turns_and_503_with_the_reason_otherwise() -> None:
    assert get("/healthz")[:2] == (200, "ok\n")
    assert get("/healthz", Worker(alive="the compute thread stands still"))[:2] == (
        503,
        "the compute thread stands still\n",
    )


def test_readiness_is_503_with_the_reason_and_health_does_not_care() -> None:
    worker = Worker(ready="sensors[3]: refused: the snapshot is damaged")
    assert get("/readyz", worker)[:2] == (503, "sensors[3]: refused: the snapshot is damaged\n")
    assert get("/healthz", worker)[0] == 200
    assert get("/readyz")[:2] == (200, "ok\n")


def test_status_is_json_with_keys_as_texts() -> None:
    status, text, headers = get("/status")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert text == (
        '{"tasks":[{"topic":"sensors","partition":3,"state":"running","position":7,"lag":null}],"skill":{"1":0.31}}'
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/status"])
def test_nothing_but_reading_is_allowed(method: str, path: str) -> None:
    status, _, headers = get(path, method=method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_head_answers_without_a_body() -> None:
    assert get("/healthz", method="HEAD")[:2] == (200, "")


def test_other_paths_are_not_found_and_no_answer_names_libraries() -> None:
    status, text, headers = get("/state/../secret")
    assert (status, text, headers["Server"]) == (404, "404 Not Found\n", "streamrnn")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 10_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
        b"\x00\xff\r\n\r\n",
    ],
)
def test_a_request_that_is_too_long_or_is_none_gets_400_and_no_line_in_the_log(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(base: str) -> tuple[bytes, int]:
        host, port = base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request_bytes)
        first_line = await reader.readline()
        writer.close()
        async with aiohttp.ClientSession() as session, session.get(base + "/healthz") as response:
            return first_line, response.status

    first_line, status = served(ask)
    assert first_line.startswith(b"HTTP/1.") and b" 400 " in first_line
    assert status == 200
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_mistake_of_ours_is_500_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Mistaken(Worker):
        def ready(self) -> str | None:
            raise RuntimeError("of ours")

    assert get("/readyz", Mistaken())[0] == 500
    assert any(record.exc_info and "of ours" in str(record.exc_info[1]) for record in caplog.records)


def test_a_stop_does_not_wait_for_idle_connections() -> None:
    async def serve() -> float:
        server = HttpServer(HttpSettings(), Worker(), lambda: b"")
        host, port = await server.start()
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: never finished")
        await writer.drain()
        await asyncio.sleep(0.05)
        before = asyncio.get_running_loop().time()
        await server.stop()
        await server.stop()
        writer.close()
        return asyncio.get_running_loop().time() - before

    assert asyncio.run(serve()) < 5


def test_the_port_found_is_returned_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(base: str) -> str:
        return base

    with caplog.at_level(logging.INFO):
        base = served(ask)
    assert not base.endswith(":0")
    assert f"listening on {base} for /metrics, /healthz, /readyz, /status" in caplog.messages


def test_a_port_in_use_is_told_with_the_way_out() -> None:
    async def ask(base: str) -> None:
        port = int(base.rpartition(":")[2])
        with pytest.raises(FatalError, match=r"cannot be bound: .*Give another http\.host or http\.port"):
            await HttpServer(HttpSettings(port=port), Worker(), lambda: b"").start()

    served(ask)


def test_a_stop_without_a_start_does_nothing() -> None:
    async def stop() -> None:
        await HttpServer(HttpSettings(), Worker(), lambda: b"").stop()

    asyncio.run(stop())


def answers(settings: HttpSettings, worker: Worker, *tokens: str | None) -> list[tuple[int, str]]:
    """What /status and /readyz say to whoever comes with these values of the header Authorization."""

    async def ask(base: str) -> list[tuple[int, str]]:
        found = []
        async with aiohttp.ClientSession() as session:
            for token in tokens:
                headers = {} if token is None else {"Authorization": token}
                for path in ("/status", "/readyz"):
                    async with session.get(base + path, headers=headers) as response:
                        found.append((response.status, await response.text()))
        return found

    return served(ask, worker, settings)


def test_with_a_token_nothing_but_a_probes_status_is_told_to_who_does_not_show_it() -> None:
    worker = Worker(ready="sensors[3] is failed: broker-7 is away")
    guarded = HttpSettings(token="open-sesame")
    assert "open-sesame" not in repr(guarded)
    strangers: list[str | None] = [None, "Bearer open-sesam", "open-sesame", "Basic open-sesame", "Bearer \udcff"]
    for told in zip(*[iter(answers(guarded, worker, *strangers))] * 2, strict=True):
        assert told == ((401, "401 Unauthorized\n"), (503, "no\n"))
    status, ready = answers(guarded, worker, "Bearer open-sesame")
    assert (status[0], ready) == (200, (503, "sensors[3] is failed: broker-7 is away\n"))
    assert get("/readyz")[:2] == (200, "ok\n")


def test_over_tls_the_answers_are_the_same_and_in_the_clear_there_is_none(tmp_path: Path) -> None:
    made = Certificates(tmp_path)
    certificate, key = map(str, made.signed("worker"))
    context = ssl.create_default_context(cafile=str(made.authority))

    async def ask(base: str) -> tuple[int, str]:
        secure = base.replace("http:", "https:")
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(base + "/healthz")
            async with session.get(secure + "/healthz", ssl=context) as response:
                return response.status, await response.text()

    assert served(ask, settings=HttpSettings(cert_file=certificate, key_file=key)) == (200, "ok\n")
    for cert_file, key_file in ((certificate, None), (certificate, str(tmp_path / "none")), (key, certificate)):
        with pytest.raises(FatalError, match=r"http: certificate and key cannot be read from .*\.pem"):
            served(ask, settings=HttpSettings(cert_file=cert_file, key_file=key_file))


@pytest.mark.parametrize("secure", [False, True])
def test_clients_that_keep_connections_open_and_say_nothing_take_neither_the_last_descriptor_nor_the_last_place(
    tmp_path: Path, secure: bool
) -> None:
    settings = HttpSettings()
    if secure:
        certificate, key = map(str, Certificates(tmp_path).signed("worker"))
        settings = HttpSettings(cert_file=certificate, key_file=key)

    async def ask(base: str) -> None:
        host, port = base.removeprefix("http://").split(":")
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        hostile = [await asyncio.open_connection(host, int(port)) for _ in range(300)]
        await asyncio.sleep(0.5)
        ours = len(os.listdir("/proc/self/fd")) - before - len(hostile)  # noqa: PTH208
        assert listener.MOST / 2 < ours <= listener.MOST + 6
        reader, writer = await asyncio.open_connection(host, int(port), ssl=_anyone() if secure else None)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200" in await reader.readline()
        for _, each in (*hostile, (reader, writer)):
            each.close()

    served(ask, settings=settings)


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: never fini"])
def test_whoever_does_not_finish_a_request_in_time_is_hung_up_on(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_IDLE", 0.5)

    async def ask(base: str) -> bytes:
        host, port = base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(said)
        try:
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()

    assert served(ask) == b""


def test_a_client_whose_tls_handshake_does_not_come_about_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE", 0.5)
    certificate, key = map(str, Certificates(tmp_path).signed("worker"))

    async def ask(base: str) -> bytes:
        host, port = base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()

    assert served(ask, settings=HttpSettings(cert_file=certificate, key_file=key)) == b""


def _anyone() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
