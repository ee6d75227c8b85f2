"""A client of MCP on a WebSocket, which writes down all that is said."""

import asyncio
import json
import re
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.cookiejar import CookieJar
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

__all__ = [
    "ANSWER_TIMEOUT",
    "LINE",
    "CheckFailed",
    "Json",
    "Peer",
    "connected",
    "shorten",
    "sign_in",
]

ANSWER_TIMEOUT = 20  # seconds for an answer; a busy machine takes two

MOST_PAGES = 200  # of a list

LINE = 240  # characters of a message that the transcript shows

Json = dict[str, Any]


class CheckFailed(Exception):
    """Something was not as it should be. The text says what."""


class Peer:
    """
    A client on one WebSocket.

    `meta` goes into every request's `_meta`: the envelope of the modern era, nothing
    in the legacy one. `answerable` are the methods that the server may ask. What the
    server sends is printed as it comes, kept in `heard`, and sorted: answers by their
    id, notifications and questions in a list each, and what nobody asked for in
    `strays`.
    """

    def __init__(
        self,
        socket: ClientConnection,
        label: str,
        meta: Json,
        answerable: Collection[str],
    ) -> None:
        self.socket = socket
        self.label = label
        self.meta = meta
        self.answerable = answerable
        self.heard: list[object] = []
        self.answers: dict[int, Json] = {}
        self.notifications: list[Json] = []
        self.questions: list[Json] = []
        self.strays: list[object] = []
        self.awaited: set[int] = set()
        self.arrival = asyncio.Condition()
        self.is_closed = False
        self.introduction: Json = {}  # what a handshake was answered with
        self.last_id = 0
        self.is_quiet = False
        self.unsaid = 0
        self.shown: Json = {}  # what was said last in any `_meta`

    @property
    def is_modern(self) -> bool:
        return bool(self.meta)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Only count what is said, since it is much and all alike."""
        self.is_quiet, self.unsaid = True, 0
        try:
            yield
        finally:
            self.is_quiet = False
            print(f"{self.label} .. ({self.unsaid} frames not shown)", flush=True)

    def say(self, direction: str, frame: Any) -> None:
        if self.is_quiet:
            self.unsaid += 1
        else:
            text = shorten(self.abridge(frame))
            print(f"{self.label} {direction} {text}", flush=True)

    def abridge(self, frame: Any) -> Any:
        """Leave out of a frame's `_meta` what was said before: in the modern era that
        is most of a short message."""
        for part in ("params", "result"):
            inside = frame.get(part) if isinstance(frame, dict) else None
            meta = inside.get("_meta") if isinstance(inside, dict) else None
            if isinstance(inside, dict) and isinstance(meta, dict):
                known = [key for key in meta if meta[key] == self.shown.get(key)]
                self.shown |= meta
                if known:
                    left = {key: meta[key] for key in meta if key not in known}
                    short = left | {"...": "as before"} if left else "as before"
                    frame = {**frame, part: {**inside, "_meta": short}}
        return frame

    async def read(self) -> None:
        """Sort what arrives until the connection ends."""
        try:
            async for text in self.socket:
                frame = json.loads(text)
                self.say("<-", frame)
                async with self.arrival:
                    self.heard.append(frame)
                    self.sort(frame)
                    self.arrival.notify_all()
        finally:
            async with self.arrival:
                self.is_closed = True
                self.arrival.notify_all()

    def sort(self, frame: Any) -> None:
        if not isinstance(frame, dict) or frame.get("jsonrpc") != "2.0":
            self.strays.append(frame)
        elif "method" in frame and "id" not in frame:
            self.notifications.append(frame)
        elif frame.get("method") in self.answerable:
            self.questions.append(frame)
        elif frame.get("id") in self.awaited and ("result" in frame) != (
            "error" in frame
        ):
            self.awaited.discard(frame["id"])
            self.answers[frame["id"]] = frame
        else:
            self.strays.append(frame)

    async def until(self, happened: Callable[[], object], what: str) -> None:
        """Wait for something to arrive. Raise CheckFailed when it does not in time."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT), self.arrival:
                await self.arrival.wait_for(lambda: happened() or self.is_closed)
        except TimeoutError:
            raise CheckFailed(f"No {what} within {ANSWER_TIMEOUT} s") from None
        if not happened():
            raise CheckFailed(f"The server closed the connection before {what}")

    async def send(self, frame: Json) -> None:
        self.say("->", frame)
        await self.socket.send(json.dumps(frame))

    async def notify(self, method: str, params: Json | None = None) -> None:
        frame: Json = {"jsonrpc": "2.0", "method": method}
        await self.send(frame if params is None else frame | {"params": params})

    async def ask(self, method: str, params: Json, meta: Json | None = None) -> int:
        """Send a request and return its id at once; see answer()."""
        self.last_id += 1
        self.awaited.add(self.last_id)
        meta = {**self.meta, **(meta or {})}
        if meta:
            params = {**params, "_meta": meta}
        await self.send(
            {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        )
        return self.last_id

    async def answer(self, id: int) -> Json:
        await self.until(lambda: id in self.answers, f"answer to request {id}")
        return self.answers[id]

    async def request(
        self, method: str, params: Json, meta: Json | None = None
    ) -> Json:
        """Send a request and return its result. Raise CheckFailed for an error."""
        answer = await self.answer(await self.ask(method, params, meta))
        if "error" in answer:
            raise CheckFailed(f"{method} was refused: {shorten(answer['error'], 2000)}")
        result: Json = answer["result"]
        return result

    async def refusal(
        self, method: str, params: Json, meta: Json | None = None
    ) -> Json:
        """Send a request and return its error, empty when there is none."""
        answer = await self.answer(await self.ask(method, params, meta))
        error: Json = answer.get("error", {})
        return error

    async def pages(self, method: str, key: str) -> list[list[Json]]:
        """Return the items of a list by page. Raise CheckFailed when it has no end."""
        pages: list[list[Json]] = []
        params: Json = {}
        while len(pages) < MOST_PAGES:
            page = await self.request(method, params)
            pages.append(page[key])
            if "nextCursor" not in page:
                return pages
            params = {"cursor": page["nextCursor"]}
        raise CheckFailed(f"{method} has more than {MOST_PAGES} pages")

    async def call(self, name: str, arguments: Json, meta: Json | None = None) -> Json:
        """Call a tool and return the whole result."""
        params = {"name": name, "arguments": arguments}
        return await self.request("tools/call", params, meta)

    async def reply(self, question: Json, answer: Json) -> None:
        """Answer a question of the server with `{"result": ...}` or an error."""
        await self.send({"jsonrpc": "2.0", "id": question["id"], **answer})

    def told(self, method: str) -> list[Json]:
        """Return the params of the notifications of one method, in their order."""
        return [
            frame.get("params", {})
            for frame in self.notifications
            if frame["method"] == f"notifications/{method}"
        ]

    def progress(self, token: str) -> list[Json]:
        steps = self.told("progress")
        return [step for step in steps if step["progressToken"] == token]

    def logged(self) -> list[Json]:
        return self.told("message")


@asynccontextmanager
async def connected(
    url: str,
    label: str,
    meta: Json | None = None,
    *,
    answerable: Collection[str] = (),
    cookie: str | None = None,
    origin: str | None = None,
) -> AsyncIterator[Peer]:
    """Open a connection, and close it however the block ends."""
    async with connect(
        url,
        subprotocols=[Subprotocol("mcp")],
        additional_headers={"Cookie": cookie} if cookie else None,
        origin=Origin(origin) if origin else None,
        proxy=None,
        open_timeout=ANSWER_TIMEOUT,
        close_timeout=5,
    ) as socket:
        peer = Peer(socket, label, meta or {}, answerable)
        reader = asyncio.create_task(peer.read())
        try:
            yield peer
        finally:
            reader.cancel()


def sign_in(site: str, username: str, password: str) -> str:
    """Sign in through the admin's form, as a browser does; return the cookie."""
    jar = CookieJar()
    opener = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(jar), urllib.request.ProxyHandler({})
    )
    address = f"{site}/admin/login/?next=/admin/"
    with opener.open(address, timeout=ANSWER_TIMEOUT) as response:
        page = response.read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    if token is None:
        raise CheckFailed("The admin's login page has no form")
    form = {
        "username": username,
        "password": password,
        "csrfmiddlewaretoken": token[1],
    }
    request = urllib.request.Request(
        address,
        data=urllib.parse.urlencode(form).encode(),
        headers={"Referer": address},
    )
    with opener.open(request, timeout=ANSWER_TIMEOUT) as response:
        response.read()
    sessions = [cookie.value for cookie in jar if cookie.name == "sessionid"]
    return f"sessionid={sessions[0]}" if sessions else ""


def shorten(value: object, limit: int = LINE) -> str:
    """Write a value as JSON, and only the beginning of what is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= limit:
        return text
    return f"{text[:limit]} ... ({len(text):,} characters)"
