#!/usr/bin/env python3
"""A TCP relay on 127.0.0.1 that holds back what passes: delay.py UPSTREAM_PORT MS. Prints its port; half of MS each way."""
import asyncio
import sys


class Side(asyncio.Protocol):
    def __init__(self, seconds):
        self.seconds, self.other, self.transport, self.early = seconds, None, None, []

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=1 << 20)

    def pause_writing(self):
        self.other.transport.pause_reading()

    def resume_writing(self):
        self.other.transport.resume_reading()

    def data_received(self, data):
        asyncio.get_running_loop().call_later(self.seconds, self.pass_on, data)

    def pass_on(self, data):
        if self.other is None or self.other.transport is None:
            self.early.append(data)
        elif not self.other.transport.is_closing():
            self.other.transport.write(data)

    def connection_lost(self, _):
        if self.other and self.other.transport:
            asyncio.get_running_loop().call_later(self.seconds, self.other.transport.close)


async def connect(near, port):
    near.other = Side(near.seconds)
    near.other.other = near
    await asyncio.get_running_loop().create_connection(lambda: near.other, "127.0.0.1", port)
    for data in near.early:
        near.other.transport.write(data)
    near.early.clear()


async def main(port, seconds):
    loop = asyncio.get_running_loop()
    tasks = set()

    class Near(Side):
        def connection_made(self, transport):
            super().connection_made(transport)
            task = loop.create_task(connect(self, port))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    server = await loop.create_server(lambda: Near(seconds), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]) / 2000))
