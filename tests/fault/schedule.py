"""Random faults between client and server, by seed: what a schedule does depends on its number and on the requests alone.

    with Scheduled(upstream_port) as proxy:
        proxy.schedules["some/prefix"] = Schedule(seed)
        ... talk to proxy.port; proxy.schedules["some/prefix"].hit holds the keys whose requests met a fault
"""
import asyncio
import contextlib
import random
import socket
import struct

from proxy import Closed, Proxy, flip, head_bytes, length_of, read_head

FAULTS = ["cut", "cut_request", "reset", "stall", "stall_body", "corrupt", "corrupt_request", "short", "long", "garbage", "500", "503", "slowdown",
          "retry_after", "403", "expired", "redirect", "region", "duplicate", "swap", "lost_answer"]
STATUS = {
    "500": (500, "InternalError", ()), "503": (503, "ServiceUnavailable", ()), "slowdown": (503, "SlowDown", ()),
    "retry_after": (503, "SlowDown", (("Retry-After", "0"),)), "403": (403, "AccessDenied", ()), "expired": (400, "ExpiredToken", ()),
    "redirect": (307, "TemporaryRedirect", (("Location", "http://127.0.0.1:1/"),)),
    "region": (301, "PermanentRedirect", (("x-amz-bucket-region", "us-east-1"),)),
}


class Schedule:
    """A few kinds of fault, each for a burst of requests, or for one key as long as the schedule runs; of paths that hold one of `paths`."""

    def __init__(self, seed, paths=("",)):
        rng = random.Random(seed)
        self.plan = []
        for _ in range(rng.choice([1, 1, 2, 3])):
            fault = rng.choice(FAULTS)
            lasts = rng.choice([1, 1, 2, 5, 1000]) if fault not in ("stall", "stall_body") else rng.choice([1, 1, 2])
            self.plan.append({"fault": fault, "skip": rng.randrange(12), "times": lasts, "one_key": lasts == 1000 and rng.random() < 0.7,
                              "method": rng.choice(["", "", "GET", "PUT", "HEAD"]), "at": rng.choice([0, 1, 50, rng.randrange(3000)]),
                              "path": rng.choice(paths) if len(paths) > 1 else paths[0]})
            if self.plan[-1]["path"]:  # of which there are few
                self.plan[-1]["skip"] = rng.randrange(2)
        self.hit = set()
        self.waiting = None
        self.on = True

    def __str__(self):
        return "; ".join(f"{p['fault']} {p['method'] or 'any'} {p['path']} after {p['skip']} for {p['times']}{' of one key' if p['one_key'] else ''} at {p['at']}"
                         for p in self.plan)

    def take(self, method, path):
        for rule in self.plan:
            if not self.on or (rule["method"] and rule["method"] != method) or rule["path"] not in path or rule["times"] == 0:
                continue
            if rule.get("key", path) != path:
                continue
            if "key" not in rule and rule["skip"]:
                rule["skip"] -= 1
                continue
            rule["times"] -= 1
            if rule["one_key"]:
                rule["key"] = path
            self.hit.add(path)
            return rule
        return None


class Scheduled(Proxy):
    def __init__(self, upstream_port):
        super().__init__(upstream_port)
        self.schedules = {}

    def schedule_of(self, path):
        return next((s for prefix, s in self.schedules.items() if f"/{prefix}/" in path or f"={prefix}%2F" in path), None)

    async def _one(self, reader, writer):
        first, headers = await read_head(reader)
        method, path, _ = first.split(" ", 2)
        schedule = self.schedule_of(path)
        rule = schedule.take(method, path) if schedule else None
        fault, at = (rule["fault"], rule["at"]) if rule else (None, 0)
        if fault == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise Closed
        if fault == "cut_request":
            await reader.readexactly(min(at, length_of(headers)))
            raise Closed
        body = await reader.readexactly(length_of(headers))
        if fault == "stall":
            await asyncio.sleep(3600)
        if fault == "garbage":
            writer.write(b"HTTP/1.1 two hundred fine\r\n\r\n" if at % 2 else b"no HTTP at all\r\n\r\n")
            await writer.drain()
            raise Closed
        if fault in STATUS:
            await self._refuse(writer, method, *STATUS[fault])
            return
        if fault == "corrupt_request":
            body = flip(body, at)
        answer = list(await self._ask(method, first, headers, body))
        if fault == "lost_answer":
            raise Closed
        if fault == "swap":
            answer = await self._swap(schedule, answer)
        await self._send(writer, fault, at, *answer)

    async def _refuse(self, writer, method, code, name, headers):
        text = b"" if method == "HEAD" else f"<Error><Code>{name}</Code><Message>made up</Message></Error>".encode()
        writer.write(head_bytes(f"HTTP/1.1 {code} Injected", [("Content-Length", str(len(text))), *headers]) + text)
        await writer.drain()

    async def _swap(self, schedule, answer):
        """Two answers change places, if a second one comes in time."""
        if schedule.waiting and not schedule.waiting.done():
            other, schedule.waiting = schedule.waiting, None
            mine = asyncio.get_running_loop().create_future()
            other.set_result((answer, mine))
            return await mine
        schedule.waiting = asyncio.get_running_loop().create_future()
        with contextlib.suppress(asyncio.TimeoutError):
            other, theirs = await asyncio.wait_for(schedule.waiting, 0.1)
            theirs.set_result(answer)
            return other
        return answer

    async def _send(self, writer, fault, at, first, headers, body):
        headers = [h for h in headers if h[0].lower() != "connection"]
        if fault == "corrupt":
            body = flip(body, at)
        if fault in ("short", "long"):
            body = body[:at] if fault == "short" else body + b"more"
            headers = [h for h in headers if h[0].lower() != "content-length"] + [("Content-Length", str(len(body)))]
        if fault in ("cut", "stall_body"):
            body = body[:at]
        writer.write((head_bytes(first, headers) + body) * (2 if fault == "duplicate" else 1))
        await writer.drain()
        if fault == "stall_body":
            await asyncio.sleep(3600)
        if fault == "cut":
            raise Closed
