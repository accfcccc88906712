"""An HTTP proxy on 127.0.0.1 that breaks what passes through it, by rules.

    with Proxy(upstream_port) as proxy:
        proxy.rules.append(Rule("GET", "files/md5", "cut", times=2, at=100))
        ... talk to proxy.port; proxy.log holds (method, path, action or None)

A rule applies to the requests whose method is its own ("" for any) and whose path holds its text, after `skip` of them and `times` times
(None: always). Actions:

    status        answer `code` with an S3 error `name`, without asking the server; `headers` and, to the body, `extra` are added
    cut           close after `at` bytes of the answer's body
    cut_request   close after `at` bytes of the request's body
    reset         reset the connection at once
    stall         answer nothing
    stall_body    stop after `at` bytes of the answer's body, and stay
    corrupt       flip a bit of byte `at` of the answer's body
    corrupt_request   the same of the request's body
    short         announce (and send) only the first `at` bytes of the answer's body
    garbage       answer something that is no HTTP
    whole         answer 200 with what is in the file `extra`, as a server does that knows no ranges
    other_range   say that the bytes begin `at` further on
    delay         wait for `at` ms before the server is asked
    trickle       take `at` seconds to read the request's body, and as many to send the answer's; then close before its last byte, or the whole of it if it is empty
"""
import asyncio
import contextlib
import dataclasses
import socket
import struct
import threading


@dataclasses.dataclass
class Rule:
    method: str
    path: str
    action: str
    times: int | None = None
    skip: int = 0
    at: int = 0
    code: int = 500
    name: str = "InternalError"
    headers: tuple = ()
    extra: str = ""

    def take(self, method, path):
        if (self.method and self.method != method) or self.path not in path or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Closed(Exception):
    pass


def flip(body, at):
    if not body:
        return body
    changed = bytearray(body)
    changed[min(at, len(body) - 1)] ^= 1
    return bytes(changed)


def moved(value, by):
    start, end = value.removeprefix("bytes ").split("/")[0].split("-")
    return f"bytes {int(start) + by}-{int(end) + by}/{value.split('/')[1]}"


async def read_head(reader):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise Closed from error
    lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = [line.split(": ", 1) for line in lines[1:]]
    return lines[0], [(h[0], h[1] if len(h) > 1 else "") for h in headers]


async def read_slowly(reader, length, seconds):
    body = b""
    while len(body) < length:
        body += await reader.readexactly(min(-(-length // seconds), length - len(body)))
        await asyncio.sleep(1)
    return body


def length_of(headers):
    return next((int(value) for name, value in headers if name.lower() == "content-length"), 0)


def head_bytes(first, headers):
    return (first + "\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n").encode("latin-1")


class Proxy:
    def __init__(self, upstream_port):
        self.upstream_port = upstream_port
        self.rules = []
        self.log = []
        self.requests = []
        self.port = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *exc):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def count(self, method, text=""):
        return sum(1 for m, path, _ in self.log if m == method and text in path)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader, writer):
        try:
            while True:
                await self._one(reader, writer)
        except (Closed, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            with contextlib.suppress(Exception):
                writer.close()

    async def _one(self, reader, writer):
        first, headers = await read_head(reader)
        method, path, _ = first.split(" ", 2)
        rule = next((r for r in self.rules if r.take(method, path)), None)
        action = rule.action if rule else None
        self.log.append((method, path, action))
        self.requests.append((first, headers))
        if action == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise Closed
        if action == "cut_request":
            await reader.readexactly(min(rule.at, length_of(headers)))
            raise Closed
        body = await (read_slowly(reader, length_of(headers), rule.at) if action == "trickle" else reader.readexactly(length_of(headers)))
        if action == "stall":
            await asyncio.sleep(3600)
        if action == "garbage":
            writer.write(b"this is no HTTP at all\r\n\r\n")
            await writer.drain()
            raise Closed
        if action == "status":
            text = b"" if method == "HEAD" else (f"<?xml version=\"1.0\"?>\n<Error><Code>{rule.name}</Code><Message>made up &amp; injected</Message>"
                                                 f"<RequestId>R1</RequestId>{rule.extra}</Error>").encode()
            writer.write(head_bytes(f"HTTP/1.1 {rule.code} Injected", [("Content-Length", str(len(text))), *rule.headers]) + text)
            await writer.drain()
            return
        if action == "corrupt_request":
            body = flip(body, rule.at)
        if action == "delay":
            await asyncio.sleep(rule.at / 1000)
        if action == "whole":
            with open(rule.extra, "rb") as file:
                text = file.read()
            writer.write(head_bytes("HTTP/1.1 200 OK", [("Content-Length", str(len(text)))]) + text)
            await writer.drain()
            return
        answer_first, answer_headers, answer = await self._ask(method, first, headers, body)
        await self._answer(writer, rule, answer_first, answer_headers, answer)

    async def _ask(self, method, first, headers, body):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream_port, limit=1 << 20)
        try:
            writer.write(head_bytes(first, [h for h in headers if h[0].lower() != "connection"] + [("Connection", "close")]) + body)
            await writer.drain()
            answer_first, answer_headers = await read_head(reader)
            if method == "HEAD":
                return answer_first, answer_headers, b""
            if any(name.lower() == "transfer-encoding" for name, _ in answer_headers):
                return answer_first, answer_headers, await reader.read(-1)
            return answer_first, answer_headers, await reader.readexactly(length_of(answer_headers))
        finally:
            writer.close()

    async def _answer(self, writer, rule, first, headers, body):
        action = rule.action if rule else None
        headers = [h for h in headers if h[0].lower() != "connection"]
        if action == "corrupt":
            body = flip(body, rule.at)
        if action == "other_range":
            headers = [(h[0], moved(h[1], rule.at) if h[0].lower() == "content-range" else h[1]) for h in headers]
        if action == "short":
            body = body[:rule.at]
            headers = [h for h in headers if h[0].lower() != "content-length"] + [("Content-Length", str(len(body)))]
        if action in ("cut", "stall_body"):
            body = body[:rule.at]
        if action == "trickle":
            piece = -(-len(body) // rule.at)
            if body:
                writer.write(head_bytes(first, headers))
            for at in range(0, len(body) - 1, piece or 1):
                writer.write(body[at:min(at + piece, len(body) - 1)])
                await asyncio.sleep(1)
            raise Closed
        writer.write(head_bytes(first, headers) + body)
        await writer.drain()
        if action == "stall_body":
            await asyncio.sleep(3600)
        if action == "cut":
            raise Closed
