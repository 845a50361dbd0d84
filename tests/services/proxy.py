"""A TCP proxy on loopback that breaks connections on demand: reset, black hole, latency."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_CHUNK_BYTES = 65536
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class FaultProxy:
    """Forwards `port` to a port of 127.0.0.1. Its event loop runs in a thread; the methods are for every other."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._latency_seconds = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._flowing, self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def reset(self) -> None:
        """Reset every connection, as a crashing router or a load balancer does. New ones work."""
        self._in_loop(self._abort_all)

    def open_black_hole(self) -> None:
        """Swallow everything without a word, in both directions: as a cut cable does. New connections hang, too."""
        self._in_loop(self._flowing.clear)

    def close_black_hole(self) -> None:
        """Let bytes through again, also those that were held."""
        self._in_loop(self._flowing.set)

    def set_latency(self, seconds: float) -> None:
        """Hold each chunk of bytes for so long."""
        self._latency_seconds = seconds

    def close(self) -> None:
        """Close every connection and the proxy."""
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> tuple[asyncio.Event, asyncio.Server]:
        flowing = asyncio.Event()
        flowing.set()
        return flowing, await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        far_writer: asyncio.StreamWriter | None = None
        try:
            await self._flowing.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._writers.add(far_writer)
            await asyncio.gather(self._forward(reader, far_writer), self._forward(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, far_writer):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if self._latency_seconds:
                await asyncio.sleep(self._latency_seconds)
            await self._flowing.wait()
            writer.write(chunk)
            await writer.drain()
        writer.close()

    def _abort_all(self) -> None:
        for writer in list(self._writers):
            connection = writer.get_extra_info("socket")
            if connection is not None:
                with suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            writer.transport.abort()

    async def _shut_down(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._abort_all()
        await asyncio.sleep(0)

    def _in_loop(self, act: Callable[[], object]) -> None:
        done = threading.Event()

        def call() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(call)
        if not done.wait(10):
            raise TimeoutError("the fault proxy does not react")


@contextmanager
def fault_proxy(target_port: int) -> Iterator[FaultProxy]:
    """Run a proxy for the length of the block."""
    proxy = FaultProxy(target_port)
    try:
        yield proxy
    finally:
        proxy.close()
