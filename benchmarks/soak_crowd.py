"""The clients of soak.py: 64 kept connections, each of which checks every answer."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from yarl import URL

from soak_sites import Site, Stand, wait_for

ECHOES, BROWSERS, TALKS = 48, 8, 8
PAUSE = 0.3  # seconds: the longest between two requests of a client
TIMEOUT = 60.0  # seconds
# How often a text is repeated: small, beyond one ring, and beyond a socket's buffers; with weights.
SIZES, WEIGHTS = (1, 8_000, 80_000), (93, 6, 1)


@dataclass(frozen=True, slots=True)
class Incident:
    """An answer that was none, or a wrong one, or the end of a websocket."""

    kind: str  # wrong, lost, broken, 502, 503 or a websocket's close code
    site: Site
    token: str
    detail: str
    error: str = ""  # the class of the client's exception


def size() -> int:
    return random.choices(SIZES, WEIGHTS)[0]


def wait() -> str:
    """Returns the seconds that the application is to take: some requests are always under way."""
    return f"{random.uniform(0, 0.5):.3f}" if random.random() < 0.2 else "0"


class Client:
    """One kept connection."""

    def __init__(self, crowd: Crowd, number: int, site: Site) -> None:
        self.crowd, self.site = crowd, site
        self.name = f"{site.name}-{number}"
        self.number = number
        self.base = URL(f"http://127.0.0.1:{site.port}")
        self._tokens = itertools.count()
        self.rounds = 0

    def token(self) -> str:
        return f"{self.name}-{next(self._tokens)}"

    def report(self, kind: str, token: str, detail: object) -> None:
        error = type(detail).__name__ if isinstance(detail, Exception) else ""
        self.crowd.incidents.append(Incident(kind, self.site, token, repr(detail)[:300], error))

    def check_head(self, headers: aiohttp.typedefs.LooseHeaders, token: str, floor: int) -> bool:
        """Whether the head is that of an answer to this request, by code that was current."""
        version, said = int(headers.get("X-Version", -1)), headers.get("X-Token")
        if said != token:
            self.report("wrong", token, f"the answer to {said}")
        elif not floor <= version <= self.site.newest:
            self.report("wrong", token, f"version {version}, not {floor} to {self.site.newest}")
        else:
            self.crowd.seen(self.site, version, int(headers["X-Worker"]))
            return True
        return False

    async def ask(
        self, session: aiohttp.ClientSession, method: str, path: str, data: object = None
    ) -> tuple[int, str]:
        """Returns status and body of a right answer; reports any other, and returns status 0."""
        token, floor = self.token(), self.site.floor
        try:
            async with session.request(
                method, self.base.join(URL(path)), data=data, allow_redirects=False,
                headers={"X-Token": token, "X-Wait": wait(), "Referer": str(self.base)},
            ) as response:  # fmt: skip
                body = await response.text()
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionResetError) as error:
            self.report("broken", token, error)
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            self.report("lost", token, error)
        else:
            if "X-Token" in response.headers:
                if self.check_head(response.headers, token, floor):
                    self.crowd.answers[response.status] += 1
                    return response.status, body
            elif response.status == 502:
                self.report("502", token, "")
            elif response.status == 503 and "Retry-After" in response.headers:
                self.report("503", token, "")
            else:
                self.report("wrong", token, f"{response.status} {body}")
        return 0, ""

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1),
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        )

    async def repeat(self, once: Callable[[], Awaitable[None]]) -> None:
        while not self.crowd.is_over:
            await once()
            self.rounds += 1
            await asyncio.sleep(random.uniform(0, PAUSE))

    async def echo(self) -> None:
        """Uploads bytes and gets the same ones. aiohttp never repeats a POST by itself."""
        async with self.session() as session:

            async def once() -> None:
                sent = f"{self.name}/{self.rounds};" * size()
                status, body = await self.ask(session, "POST", "/echo", sent.encode())
                if status and (status != 200 or body != sent):
                    self.report("wrong", self.name, f"{status}, {len(body)} of {len(sent)} bytes")

            await self.repeat(once)

    async def browse(self) -> None:
        """Logs in to Django's admin as a user of its own, looks at lists, and logs out."""
        user = f"user{self.number}"
        async with self.session() as session:

            async def submit(path: str, page: str, **fields: str) -> int:
                found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
                fields["csrfmiddlewaretoken"] = found[1] if found else ""
                return (await self.ask(session, "POST", path, fields))[0]

            async def once() -> None:
                session.cookie_jar.clear()
                status, page = await self.ask(session, "GET", "/admin/login/")
                if status and await submit("/admin/login/", page, username=user, password="secret"):
                    for _ in range(20):
                        status, page = await self.ask(session, "GET", "/admin/items/item/")
                        if status and not (status == 200 and user in page and "item 19" in page):
                            self.report("wrong", self.name, f"{status}: no list for {user}")
                            return
                        await asyncio.sleep(random.uniform(0, PAUSE))
                    if status:
                        await submit("/admin/logout/", page)

            await self.repeat(once)

    async def talk(self) -> None:
        """Sends messages on a websocket and gets them back, until it is closed."""
        async with self.session() as session:

            async def once() -> None:
                token, floor = self.token(), self.site.floor
                try:
                    async with session.ws_connect(
                        self.base.join(URL("/talk")), headers={"X-Token": token}, max_msg_size=0
                    ) as websocket:
                        headers = websocket._response.headers
                        if self.check_head(headers, token, floor):
                            await self.converse(websocket, token)
                except aiohttp.WSServerHandshakeError as error:
                    kind = str(error.status) if error.status in (502, 503) else "wrong"
                    self.report(kind, token, error)
                except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                    self.report("lost", token, error)

            await self.repeat(once)

    async def converse(self, websocket: aiohttp.ClientWebSocketResponse, token: str) -> None:
        for number in itertools.count():
            if self.crowd.is_over:
                return
            sent = f"{token}/{number};" * size()
            try:
                await websocket.send_str(sent)
                message = await websocket.receive(TIMEOUT)
            except (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError) as error:
                code = websocket.close_code or repr(error)
                self.report(str(code), token, "websocket")
                return
            if message.type is not aiohttp.WSMsgType.TEXT:
                self.report(str(websocket.close_code), token, "websocket")
                return
            if message.data != sent:
                self.report("wrong", token, f"message {message.data[:80]!r}")
            self.crowd.answers["message"] += 1
            self.rounds += 1
            await asyncio.sleep(random.uniform(0, PAUSE))


class Crowd:
    """All clients, on a thread with an event loop."""

    def __init__(self, stand: Stand) -> None:
        self.incidents: list[Incident] = []
        self.answers: Counter[int | str] = Counter()
        self.is_over = False
        self._versions: dict[Site, int] = {}
        self._workers: dict[Site, set[int]] = {site: set() for site in stand.sites}
        self._clients = [
            *(Client(self, n, stand.sites[n % 3]) for n in range(ECHOES)),
            *(Client(self, n, stand.shop) for n in range(BROWSERS)),
            *(Client(self, n, stand.chat) for n in range(TALKS)),
        ]
        for number, client in enumerate(self._clients):
            client.name = f"{client.name}-{number}"
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    async def _run(self) -> None:
        roles = [Client.echo] * ECHOES + [Client.browse] * BROWSERS + [Client.talk] * TALKS
        await asyncio.gather(*(role(c) for role, c in zip(roles, self._clients, strict=True)))

    def seen(self, site: Site, version: int, worker: int) -> None:
        self._versions[site] = max(version, self._versions.get(site, 0))
        self._workers[site].add(worker)

    def has_seen(self, site: Site, version: int) -> bool:
        return self._versions.get(site, 0) >= version

    def workers(self, site: Site) -> set[int]:
        """The processes that have answered since `forget`."""
        return set(self._workers[site])

    def forget(self) -> None:
        self._workers = {site: set() for site in self._workers}

    def settle(self) -> None:
        """Waits until every client has begun and ended something."""
        before = {client: client.rounds for client in self._clients}
        if not self._thread.is_alive():
            raise RuntimeError("the clients have failed")
        wait_for(lambda: all(c.rounds > before[c] for c in before), "an answer to each client")

    def take(self) -> list[Incident]:
        taken, self.incidents = self.incidents, []
        return taken

    def close(self) -> None:
        self.is_over = True
        self._thread.join()
