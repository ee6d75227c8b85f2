"""
For a site's own tests: a client without a network.

    async def test_count(settings):
        async with MCPCommunicator(user=user) as client:
            result = await client.call_tool("count_orders", {"status": "paid"})
            assert result["structuredContent"] == 3

A client that is asked something answers with `answers`, in each era's own way:

    client.answers["elicitation/create"] = lambda params: {
        "action": "accept",
        "content": {"confirmed": True},
    }

Everything goes through the real consumer, as text frames. `mcp_channels.pytest_plugin`
has fixtures.
"""

import json
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from channels.testing import WebsocketCommunicator

from mcp_channels.consumers import MCPConsumer
from mcp_channels.policy import forget_policy
from mcp_channels.protocol.envelope import (
    CLIENT_CAPABILITIES,
    CLIENT_INFO,
    PROTOCOL_VERSION,
)
from mcp_channels.protocol.versions import MODERN_REVISIONS, Era, Revision

__all__ = ["MCPCommunicator", "RequestFailed"]

JSONObject = dict[str, Any]
Answer = Callable[[JSONObject], JSONObject]

_CLIENT = {"name": "mcp_channels.testing", "version": "1"}
# How often a call may be answered with questions before it is given up.
_MOST_ROUNDS: Final = 10


class RequestFailed(Exception):
    """
    The server answered with a JSON-RPC error.

    One of `answers` may raise it, to refuse with that error.
    """

    def __init__(self, error: JSONObject) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


class MCPCommunicator:
    """
    One client of a consumer.

    `user` is a Django user, None for an anonymous one, and `token` the secret of an
    access token to come with. `endpoint` is the slug of the
    endpoint that it connects to, empty for the default one. `revision` is what it
    speaks, the newest by default; as a context manager it connects, shakes hands if
    its revision wants that, and disconnects. `capabilities` are the client's.
    `timeout` is how many seconds it waits for any answer.

    `answers` holds, by method, functions that take the params of a question and return
    its result. A question without one is left: in `notifications` with all else that
    came unasked, or as the result that says `input_required`.
    """

    def __init__(
        self,
        user: Any = None,
        *,
        token: str | None = None,
        endpoint: str = "",
        revision: str = MODERN_REVISIONS[-1].value,
        capabilities: JSONObject | None = None,
        answers: dict[str, Answer] | None = None,
        consumer: type[MCPConsumer] = MCPConsumer,
        headers: list[tuple[bytes, bytes]] | None = None,
        subprotocols: list[str] | None = None,
        timeout: float = 5.0,
    ) -> None:
        found = Revision.find(revision)
        if found is None:
            raise ValueError(f"There is no revision {revision!r}.")
        self.revision = found
        self.capabilities = capabilities or {}
        self.notifications: deque[JSONObject] = deque()
        self.answers = answers or {}
        self._timeout = timeout
        self._last_id = 0
        self._answers: dict[Any, JSONObject] = {}
        headers = list(headers or [])
        if token is not None:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        has_host = any(name.lower() == b"host" for name, _ in headers)
        self._socket = WebsocketCommunicator(
            consumer.as_asgi(),
            "/ws",
            # The host that Django's own test client has, and test runs always allow.
            headers=[*headers, *([] if has_host else [(b"host", b"testserver")])],
            subprotocols=subprotocols,
        )
        scope: Any = self._socket.scope
        scope["extensions"] = {"websocket.http.response": {}}
        scope["url_route"] = {"args": (), "kwargs": {"endpoint": endpoint}}
        if user is not None:
            scope["user"] = user

    async def __aenter__(self) -> Self:
        await self.connect()
        if self.revision.era is Era.LEGACY:
            await self.initialize()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.disconnect()

    async def connect(self) -> str | None:
        """Open the socket and return the subprotocol. Raise ConnectionRefusedError,
        with the HTTP status, when it is refused."""
        # What another test has written does not hold any more.
        forget_policy()
        await self._socket.send_input({"type": "websocket.connect"})
        message = await self._socket.receive_output(self._timeout)
        if message["type"] != "websocket.accept":
            await self.disconnect()
            raise ConnectionRefusedError(message.get("status", 403))
        subprotocol: str | None = message["subprotocol"]
        return subprotocol

    async def disconnect(self) -> None:
        """Close the socket, and wait until the consumer has ended."""
        await self._socket.disconnect(timeout=self._timeout)

    async def initialize(self) -> JSONObject:
        """Shake hands, as legacy revisions must, and return the server's answer."""
        result: JSONObject = await self.request(
            "initialize",
            {
                "protocolVersion": self.revision.value,
                "capabilities": self.capabilities,
                "clientInfo": _CLIENT,
            },
        )
        await self.notify("notifications/initialized")
        return result

    async def request(self, method: str, params: JSONObject | None = None) -> Any:
        """Ask, and return the result. Raise RequestFailed for an error."""
        return await self.answer_to(await self.send_request(method, params))

    async def send_request(self, method: str, params: JSONObject | None = None) -> int:
        """Ask without waiting for the answer, and return the id to wait for."""
        self._last_id += 1
        params = dict(params or {})
        if self.revision.era is Era.MODERN:
            params["_meta"] = {
                PROTOCOL_VERSION: self.revision.value,
                CLIENT_CAPABILITIES: self.capabilities,
                CLIENT_INFO: _CLIENT,
                **params.get("_meta", {}),
            }
        await self.send(
            {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        )
        return self._last_id

    async def answer_to(self, id: int) -> Any:
        """Wait for the answer to request `id`, and return its result. Raise
        RequestFailed for an error, TimeoutError when none comes."""
        while id not in self._answers:
            await self._take(await self.receive())
        answer = self._answers.pop(id)
        if "error" in answer:
            raise RequestFailed(answer["error"])
        return answer["result"]

    async def notify(self, method: str, params: JSONObject | None = None) -> None:
        """Send a notification."""
        await self.send({"jsonrpc": "2.0", "method": method, "params": params or {}})

    async def notification(self, method: str) -> JSONObject:
        """Wait for the next notification of this method, and return its params. Raise
        TimeoutError when none comes."""
        while True:
            for message in self.notifications:
                if message["method"] == method:
                    self.notifications.remove(message)
                    params: JSONObject = message.get("params", {})
                    return params
            await self._take(await self.receive())

    async def list_tools(self) -> list[JSONObject]:
        """Return all tools, page after page."""
        return await self._list("tools/list", "tools")

    async def list_prompts(self) -> list[JSONObject]:
        """Return all prompts, page after page."""
        return await self._list("prompts/list", "prompts")

    async def list_resources(self) -> list[JSONObject]:
        """Return all resources, page after page."""
        return await self._list("resources/list", "resources")

    async def list_resource_templates(self) -> list[JSONObject]:
        """Return all resource templates, page after page."""
        return await self._list("resources/templates/list", "resourceTemplates")

    async def call_tool(
        self,
        name: str,
        arguments: JSONObject | None = None,
        *,
        on_progress: Callable[[JSONObject], None] | None = None,
    ) -> JSONObject:
        """
        Call a tool and return its result, which may be one with `isError`.

        `on_progress` gets the params of each progress notification for this call.
        """
        params: JSONObject = {"name": name, "arguments": arguments or {}}
        return await self._ask("tools/call", params, on_progress)

    async def get_prompt(
        self, name: str, arguments: dict[str, str] | None = None
    ) -> JSONObject:
        """Return the messages of a prompt, as its result."""
        params: JSONObject = {"name": name, "arguments": arguments or {}}
        return await self._ask("prompts/get", params)

    async def read_resource(self, uri: str) -> JSONObject:
        """Return the contents of a resource, as its result."""
        return await self._ask("resources/read", {"uri": uri})

    async def complete(
        self,
        ref: JSONObject,
        argument: str,
        value: str,
        known: dict[str, str] | None = None,
    ) -> JSONObject:
        """
        Return the completion of `value` for an argument.

        `ref` is such as `{"type": "ref/prompt", "name": "plan_trip"}`, and `known`
        holds the arguments that have their value already.
        """
        params: JSONObject = {
            "ref": ref,
            "argument": {"name": argument, "value": value},
        }
        if known is not None:
            params["context"] = {"arguments": known}
        result = await self.request("completion/complete", params)
        completion: JSONObject = result["completion"]
        return completion

    async def listen(self, wanted: JSONObject) -> int:
        """Open a subscriptions/listen for what is `wanted`, wait until the server
        acknowledges it, and return its id."""
        id = await self.send_request("subscriptions/listen", {"notifications": wanted})
        await self.notification("notifications/subscriptions/acknowledged")
        return id

    async def send(self, message: Any) -> None:
        """Send any JSON."""
        await self.send_text(json.dumps(message))

    async def send_text(self, text: str) -> None:
        """Send a frame as it is."""
        await self._socket.send_input({"type": "websocket.receive", "text": text})

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary frame."""
        await self._socket.send_input({"type": "websocket.receive", "bytes": data})

    async def receive(self) -> Any:
        """
        Wait for one frame and return its JSON.

        Raise ConnectionResetError, with the close code, when the server closes instead,
        and TimeoutError when nothing comes.
        """
        message = await self._socket.receive_output(self._timeout)
        if message["type"] == "websocket.close":
            raise ConnectionResetError(message.get("code", 1000))
        return json.loads(message["text"])

    async def receive_nothing(self, seconds: float = 0.05) -> bool:
        """Tell whether no frame comes for so many seconds."""
        nothing: bool = await self._socket.receive_nothing(seconds)
        return nothing

    async def _list(self, method: str, member: str) -> list[JSONObject]:
        items: list[JSONObject] = []
        params: JSONObject = {}
        while True:
            page = await self.request(method, params)
            items += page[member]
            if "nextCursor" not in page:
                return items
            params = {"cursor": page["nextCursor"]}

    async def _ask(
        self,
        method: str,
        params: JSONObject,
        on_progress: Callable[[JSONObject], None] | None = None,
    ) -> JSONObject:
        """Ask, and ask again with the answers that the server wants in between."""
        for _ in range(_MOST_ROUNDS):
            if on_progress is not None:
                params = {**params, "_meta": {"progressToken": self._last_id + 1}}
            id = await self.send_request(method, params)
            result: JSONObject = await self.answer_to(id)
            if on_progress is not None:
                for message in list(self.notifications):
                    if message.get("params", {}).get("progressToken") == id:
                        self.notifications.remove(message)
                        on_progress(message["params"])
            questions = result.get("inputRequests", {})
            if result.get("resultType") != "input_required" or not all(
                question["method"] in self.answers for question in questions.values()
            ):
                return result
            params = {
                **params,
                "inputResponses": {
                    key: self.answers[question["method"]](question.get("params", {}))
                    for key, question in questions.items()
                },
            }
            if "requestState" in result:
                params["requestState"] = result["requestState"]
        raise AssertionError(f"{method} still asks after {_MOST_ROUNDS} rounds")

    async def _take(self, message: JSONObject) -> None:
        """Put a message where it belongs; answer it if it is a question."""
        if "method" not in message:
            self._answers[message["id"]] = message
            return
        answer = self.answers.get(message["method"]) if "id" in message else None
        if answer is None:
            self.notifications.append(message)
            return
        reply: JSONObject = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            reply["result"] = answer(message.get("params", {}))
        except RequestFailed as exc:
            reply["error"] = {"code": exc.code, "message": exc.message}
        await self.send(reply)
