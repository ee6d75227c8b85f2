"""The calls a client makes, each answer checked, and how fast they were answered."""

import select
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from benchmarks.websocket import RECEIVE_SECONDS, WebSocket

LEGACY = "2025-11-25"
MODERN = "2026-07-28"

FIRST_ID = 1_000_000  # so that every frame of a connection has the same length


class Load(NamedTuple):
    """How many connections there are, and how many calls each keeps in flight."""

    name: str
    connections: int
    in_flight: int


PING_PONG = Load("1x1", 1, 1)
PIPELINED = Load("8x8", 8, 8)
LOADS = (PING_PONG, PIPELINED)


class Measurement(NamedTuple):
    """Calls answered in `seconds`; `busy` is the share in which the client worked."""

    calls: int
    seconds: float
    busy: float


class WrongAnswer(Exception):
    """The server answered something else than what was asked."""


class Text(msgspec.Struct):
    text: str


class Content(msgspec.Struct):
    content: list[Text]


class Answer(msgspec.Struct):
    id: int
    result: Content


class Session:
    """
    One connection of an MCP client that is past its handshake.

    In the legacy revision the handshake is made here; the modern one has none, and
    its envelope goes into each request.
    """

    def __init__(self, port: int, revision: str = LEGACY) -> None:
        self.socket = WebSocket(port)
        self._meta: dict[str, Any] = {}
        self._last_id = FIRST_ID
        try:
            if revision == LEGACY:
                self._initialize()
            else:
                self._meta = {
                    "io.modelcontextprotocol/protocolVersion": revision,
                    "io.modelcontextprotocol/clientCapabilities": {},
                }
        except BaseException:
            self.socket.close()
            raise

    def _initialize(self) -> None:
        parameters = {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "benchmarks", "version": "1"},
        }
        result = self.request("initialize", parameters)
        if result["protocolVersion"] != LEGACY:
            raise WrongAnswer(f"Not revision {LEGACY}: {result!r}")
        message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        self.socket.send(msgspec.json.encode(message))

    def next_id(self) -> int:
        """Return an id this session has never used."""
        self._last_id += 1
        return self._last_id

    def encode_request(self, method: str, parameters: dict[str, Any]) -> bytes:
        """Encode one request, under a new id, as a frame."""
        if self._meta:
            parameters = parameters | {"_meta": self._meta}
        message = {
            "jsonrpc": "2.0",
            "id": self.next_id(),
            "method": method,
            "params": parameters,
        }
        return self.socket.encode(msgspec.json.encode(message))

    def encode_call(self, name: str, arguments: dict[str, Any]) -> bytes:
        return self.encode_request("tools/call", {"name": name, "arguments": arguments})

    def request(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return its result. Raise WrongAnswer otherwise."""
        self.socket.send_frames(self.encode_request(method, parameters))
        return self.decode_result(self.socket.receive_one())

    def decode_result(self, message: bytes) -> dict[str, Any]:
        """Decode the answer to the last request encoded."""
        answer = msgspec.json.decode(message)
        if answer.get("id") != self._last_id or "result" not in answer:
            raise WrongAnswer(message[:500].decode(errors="replace"))
        result: dict[str, Any] = answer["result"]
        return result

    def close(self) -> None:
        self.socket.close()


class Caller:
    """Calls `echo` over one session with `in_flight` calls at a time."""

    def __init__(self, session: Session, in_flight: int) -> None:
        self.session = session
        self._decode = msgspec.json.Decoder(Answer).decode
        self._in_flight: set[int] = set()
        self._prepared: deque[tuple[int, bytes]] = deque()
        # One request of this shape is encoded properly; the rest only change its id.
        before, _, rest = msgspec.json.encode(
            {
                "jsonrpc": "2.0",
                "id": "{id}",
                "method": "tools/call",
                "params": {"name": "echo", "arguments": {"text": "call {id}"}}
                | ({"_meta": session._meta} if session._meta else {}),
            }
        ).partition(b'"{id}"')
        between, _, after = rest.partition(b"{id}")
        self._template = b"%s%%d%s%%d%s" % (before, between, after)
        self.prepare(in_flight)

    def prepare(self, count: int) -> None:
        """Encode the next frames. Done after sending, while the server works."""
        for _ in range(count):
            id = self.session.next_id()
            frame = self.session.socket.encode(self._template % (id, id))
            self._prepared.append((id, frame))

    def send(self, count: int) -> None:
        """Send `count` of the prepared frames in one write."""
        frames = []
        for _ in range(count):
            id, frame = self._prepared.popleft()
            self._in_flight.add(id)
            frames.append(frame)
        self.session.socket.send_frames(b"".join(frames))

    def check(self, messages: Iterable[bytes]) -> None:
        """Raise WrongAnswer unless each message echoes a call still in flight."""
        for message in messages:
            try:
                answer = self._decode(message)
                self._in_flight.remove(answer.id)
                is_right = answer.result.content[0].text == f"call {answer.id}"
            except (msgspec.DecodeError, KeyError, IndexError) as exc:
                raise WrongAnswer(message[:500].decode(errors="replace")) from exc
            if not is_right:
                raise WrongAnswer(message[:500].decode(errors="replace"))


@contextmanager
def open_sessions(
    port: int, count: int, revision: str = LEGACY
) -> Iterator[list[Session]]:
    """Open `count` sessions, and close them whatever happens."""
    sessions: list[Session] = []
    try:
        for _ in range(count):
            sessions.append(Session(port, revision))
        yield sessions
    finally:
        for session in sessions:
            session.close()


class Arrivals:
    """
    Waits until one of several WebSockets has something to read.

    `spins` asks again and again instead of sleeping: waking a sleeping client costs
    the server that writes to it more than the call itself, on a virtual machine at
    least. It needs a core that nothing else uses.
    """

    def __init__(self, sockets: Iterable[WebSocket], spins: bool) -> None:
        self._sockets = {socket.fileno(): socket for socket in sockets}
        self._timeout = 0 if spins else RECEIVE_SECONDS * 1000
        self._poller = select.poll()
        for descriptor in self._sockets:
            self._poller.register(descriptor, select.POLLIN)

    def wait(self) -> list[WebSocket]:
        """Return those that have something. Raise ConnectionError after 30 s."""
        limit = time.perf_counter() + RECEIVE_SECONDS
        while not (events := self._poller.poll(self._timeout)):
            if time.perf_counter() > limit:
                raise ConnectionError(f"Nothing was received for {RECEIVE_SECONDS} s")
        return [self._sockets[descriptor] for descriptor, _ in events]


def drive(
    callers: list[Caller], in_flight: int, seconds: float, spins: bool
) -> Measurement:
    """
    Call for about `seconds`, then wait for the last answers.

    Each answer is replaced by a call at once, and checked after that, so that the
    server never waits for the check.
    """
    by_socket = {caller.session.socket: caller for caller in callers}
    arrivals = Arrivals(by_socket, spins)
    answered = 0
    outstanding = len(callers) * in_flight
    waited = 0.0
    finished = started = time.perf_counter()
    deadline = started + seconds
    for caller in callers:
        caller.send(in_flight)
        caller.prepare(in_flight)
    while outstanding:
        idle = time.perf_counter()
        ready = arrivals.wait()
        finished = time.perf_counter()
        waited += finished - idle
        for socket in ready:
            caller = by_socket[socket]
            messages = socket.receive()
            count = len(messages)
            answered += count
            if finished < deadline:
                caller.send(count)
                caller.prepare(count)
            else:
                outstanding -= count
            caller.check(messages)
    elapsed = finished - started
    return Measurement(answered, elapsed, 1 - waited / elapsed)
