"""A TCP proxy that makes its peer seem far away: everything arrives so much later, in both directions.

A connection begins as one over a long line does: the first byte leaves when a handshake of one round trip is over,
and the server hears of it half a round trip after that.
"""

import asyncio
import threading


class Proxy:
    """Listens on ports of 127.0.0.1, one for each target; runs in a thread of its own."""

    def __init__(self, targets, delay):
        self.delay, self.ports = delay, {}
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()

        def main():
            asyncio.set_event_loop(self.loop)
            for name, address in targets.items():
                accept = lambda r, w, address=address: self.connection(r, w, address)
                server = self.loop.run_until_complete(asyncio.start_server(accept, "127.0.0.1", 0))
                self.ports[name] = server.sockets[0].getsockname()[1]
            ready.set()
            self.loop.run_forever()

        threading.Thread(target=main, daemon=True).start()
        ready.wait()

    async def connection(self, reader, writer, address):
        began = self.loop.time()
        # SYN, its answer and what comes with the third packet: the server accepts after one and a half round trips.
        await asyncio.sleep(3 * self.delay)
        try:
            far_reader, far_writer = await asyncio.open_connection(*address)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pipe(reader, far_writer, began + 2 * self.delay), self.pipe(far_reader, writer, 0))

    async def pipe(self, reader, writer, not_before):
        """Bytes in order, each piece `delay` after it came (or could have come, had the line been there)."""
        queue = asyncio.Queue()

        async def receive():
            while True:
                try:
                    data = await reader.read(65536)
                except OSError:
                    data = b""
                await queue.put((max(self.loop.time(), not_before) + self.delay, data))
                if not data:
                    return

        receiving = self.loop.create_task(receive())
        try:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0, due - self.loop.time()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            pass
        finally:
            await receiving
            writer.close()
