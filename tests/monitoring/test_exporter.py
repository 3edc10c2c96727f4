"""The loopback port: metrics by HTTP, whatever a client does."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from certagent.cli import main
from certagent.cli.common import Reply, Stopped, complaint
from certagent.cli.exporter import DEADLINE, LIMIT, MOST, Exporter
from certagent.config.metrics import address
from tests.servers.process import LOCALHOST, closed_port, free_port

T = TypeVar("T")
Client = Callable[[int], Awaitable[T]]
SAMPLE = Reply(text="# TYPE a gauge\na 1")


def served(metrics: Callable[[], Reply], client: Client[T]) -> T:
    """What a client sees of a port that is served until it is done."""

    async def both() -> T:
        port = free_port()
        serving = asyncio.create_task(Exporter(LOCALHOST, port, metrics).serve())
        try:
            async with asyncio.timeout(60):
                while True:
                    with suppress(ConnectionRefusedError):
                        (await asyncio.open_connection(LOCALHOST, port))[1].close()
                        break
                    await asyncio.sleep(0)
                return await client(port)
        finally:
            serving.cancel()

    return asyncio.run(both())


async def exchange(port: int, request: bytes) -> bytes:
    """All that is answered to some bytes."""
    reader, writer = await asyncio.open_connection(LOCALHOST, port)
    writer.write(request)
    with suppress(ConnectionError):
        return await reader.read()
    return b""


def answer(request: bytes, metrics: Callable[[], Reply] = lambda: SAMPLE) -> tuple[str, dict[str, str], str]:
    """The status line, the header and the body."""
    told = served(metrics, lambda port: exchange(port, request)).decode()
    head, _, body = told.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


def test_exporter_answers_prometheus() -> None:
    """GET /metrics, with a query too, in the text format, with its length; the connection ends then."""
    first, header, body = answer(b"GET /metrics?name[]=a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (first, body) == ("HTTP/1.1 200 OK", "# TYPE a gauge\na 1\n")
    assert header["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (header["Content-Length"], header["Connection"]) == (str(len(body)), "close")


def test_exporter_answers_head_without_body() -> None:
    """The header is that of GET."""
    first, header, body = answer(b"HEAD /metrics HTTP/1.0\r\n\r\n")
    assert (first, header["Content-Length"], body) == ("HTTP/1.1 200 OK", "19", "")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metricsx HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * (2 * LIMIT) + b"\r\n\r\n", 400),
    ],
)
def test_exporter_refuses_what_is_no_such_request(request_: bytes, code: int) -> None:
    """Another path, another method, TLS, half a line and too much of it each have their code, and no metrics."""
    told = served(lambda: SAMPLE, lambda port: exchange(port, request_))
    assert told.startswith(b"HTTP/1.1 %d " % code) or (code == 400 and told == b"")
    assert b"gauge" not in told


def refused() -> Reply:
    raise Stopped(complaint("the agent runs, but did not answer", 3))


@pytest.mark.parametrize("metrics", [lambda: complaint("no agent answers", 3), refused])
def test_exporter_without_agent_is_unavailable(metrics: Callable[[], Reply]) -> None:
    """503 with the reason, so that Prometheus sets `up` to 0; never the metrics of an agent that is gone."""
    first, _, body = answer(b"GET /metrics HTTP/1.1\r\n\r\n", metrics)
    assert first == "HTTP/1.1 503 Service Unavailable"
    assert body.startswith("certagent: ")


def test_exporter_asks_once_for_many() -> None:
    """Clients at the same time get one answer of the agent."""
    asked: list[int] = []

    def metrics() -> Reply:
        asked.append(1)
        return SAMPLE

    async def many(port: int) -> list[bytes]:
        return await asyncio.gather(*(exchange(port, b"GET /metrics HTTP/1.1\r\n\r\n") for _ in range(20)))

    assert all(told.endswith(b"a 1\n") for told in served(metrics, many))
    assert len(asked) == 1


@pytest.mark.slow
def test_exporter_ends_idle_connections() -> None:
    """As many as may be open say nothing: one more is closed unanswered, and after the deadline others are served."""

    async def client(port: int) -> tuple[bytes, float, bytes]:
        idle = [await asyncio.open_connection(LOCALHOST, port) for _ in range(MOST)]
        loop = asyncio.get_running_loop()
        begin = loop.time()
        over = await exchange(port, b"GET /metrics HTTP/1.1\r\n\r\n")
        await asyncio.gather(*(reader.read() for reader, _ in idle))
        return over, loop.time() - begin, await exchange(port, b"GET /metrics HTTP/1.1\r\n\r\n")

    over, lasted, later = served(lambda: SAMPLE, client)
    assert over == b""
    assert lasted >= DEADLINE / 2
    assert later.endswith(b"a 1\n")


def test_exporter_ends_at_signal() -> None:
    """SIGTERM ends it, with exit code 0."""

    def metrics() -> Reply:
        os.kill(os.getpid(), signal.SIGTERM)
        return SAMPLE

    async def both() -> None:
        port = free_port()
        serving = asyncio.create_task(Exporter(LOCALHOST, port, metrics).serve())
        while not serving.done():
            with suppress(ConnectionError):
                await exchange(port, b"GET /metrics HTTP/1.1\r\n\r\n")
        await serving

    asyncio.run(asyncio.wait_for(both(), 60))


@pytest.mark.parametrize(
    "where", ["0.0.0.0:9464", "192.0.2.1:9464", "localhost:9464", "127.0.0.1", "127.0.0.1:0", ":1"]
)
def test_exporter_listens_on_loopback_only(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Any other address, a name, or no port is a mistake on the command line, before anything is opened."""
    assert main(["metrics", "--listen", where]) == 64
    assert "write a loopback address and a port" in capsys.readouterr().err


def test_exporter_loopback_addresses() -> None:
    """All of 127/8, and ::1 in brackets."""
    assert [address(w) for w in ("127.3.2.1:80", "[::1]:9464")] == [("127.3.2.1", 80), ("::1", 9464)]


def test_exporter_says_that_port_is_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3: it cannot start."""
    assert main(["metrics", "--listen", f"{LOCALHOST}:{closed_port()}"]) == 3
    assert "cannot listen on 127.0.0.1:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write a loopback address"),
        ('[metrics]\nlisten = "192.0.2.1:9464"\n', "write a loopback address and a port, such as"),
        (f'[metrics]\nlisten = "{LOCALHOST}:PORT"\n', f"cannot listen on {LOCALHOST}:PORT"),
    ],
)
def test_exporter_takes_address_of_configuration(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--listen` alone means `listen` of [metrics]."""
    config, port = tmp_path / "config.toml", str(closed_port())
    config.write_text(text.replace("PORT", port))
    assert main(["metrics", "--listen", "-c", str(config)]) == (3 if "PORT" in text else 64)
    assert said.replace("PORT", port) in capsys.readouterr().err
