"""
What the client and the server agreed on, which the next connection must learn again.

The handshake, the log level and the subscriptions; and, for the client alone, which
tools may run twice, and which lists it has.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct, UnsetType, field

__all__ = ["LISTEN", "LISTS", "SUBSCRIPTION_ID", "Agreement", "look"]

LISTEN: Final = "subscriptions/listen"
# The key of the `_meta` of what is sent for a listen: its id.
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"

# Methods that change nothing, or nothing more when they come again.
_REPEATABLE: Final = frozenset(
    {
        "completion/complete",
        "initialize",
        "logging/setLevel",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "resources/unsubscribe",
        "server/discover",
        LISTEN,
        "tasks/get",
        "tasks/list",
        "tasks/result",
        "tools/list",
    }
)
# What there are lists of.
LISTS: Final = ("tools", "prompts", "resources")
# Which of them a client has, by the method that gives it.
_LISTED: Final = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resources",
}

_Looked = TypeVar("_Looked")


class _Annotations(Struct):
    read_only: Any = field(default=None, name="readOnlyHint")
    idempotent: Any = field(default=None, name="idempotentHint")


class _Tool(Struct):
    name: str
    annotations: _Annotations | None = None


class _ListToolsResult(Struct):
    tools: list[_Tool]


class _InitializeResult(Struct):
    revision: str = field(name="protocolVersion")
    capabilities: dict[str, Any]


_decode_tools: Final = msgspec.json.Decoder(_ListToolsResult).decode
_decode_initialized: Final = msgspec.json.Decoder(_InitializeResult).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


def look(
    decode: Callable[[Raw], _Looked], part: Raw | UnsetType | None
) -> _Looked | None:
    """Decode a part of a message; None when it is not there, or something else."""
    if part is None or isinstance(part, UnsetType):
        return None
    try:
        return decode(part)
    except msgspec.ValidationError:
        return None


class Agreement:
    """The state of one conversation. Nothing of it is sent from here."""

    def __init__(self) -> None:
        self.handshake: dict[str, Any] | None = None  # params of `initialize`
        self.is_initialized = False  # the client said so
        self.level: Raw | None = None  # params of `logging/setLevel`
        self.subscriptions: dict[str, Raw] = {}  # params of `resources/subscribe`
        self.lists: set[str] = set()  # that the client has seen
        self._tools: set[str] = set()  # that are said to be harmless

    def is_repeatable(self, method: str, name: object) -> bool:
        """Tell whether a request may run twice; `name` is of a tool."""
        if method == "tools/call":
            # A tool that was never listed may do anything.
            return isinstance(name, str) and name in self._tools
        return method in _REPEATABLE

    def forget_tools(self) -> None:
        """What the tools were said to be, they need not be any more."""
        self._tools.clear()

    def learn(self, method: str, params: Raw | None, name: Any, result: Raw) -> None:
        """Remember what a request of the client has settled."""
        if method in _LISTED:
            self.lists.add(_LISTED[method])
        if method == "tools/list":
            self._learn_tools(look(_decode_tools, result))
        elif method == "initialize":
            agreed = look(_decode_initialized, result)
            if agreed is not None:
                # Asked for again is what was agreed on: the server may speak more by
                # then, but the client does not.
                asked = look(_decode_object, params) or {}
                self.handshake = {**asked, "protocolVersion": agreed.revision}
        elif method == "logging/setLevel":
            self.level = params
        elif method == "resources/subscribe" and params is not None:
            self.subscriptions[name] = params
        elif method == "resources/unsubscribe":
            self.subscriptions.pop(name, None)

    def _learn_tools(self, result: _ListToolsResult | None) -> None:
        for tool in result.tools if result else ():
            hints = tool.annotations
            if hints and (hints.read_only is True or hints.idempotent is True):
                self._tools.add(tool.name)
            else:
                self._tools.discard(tool.name)

    def confirm(self, result: Raw | UnsetType) -> Iterable[str]:
        """
        Take the answer to the handshake that was said again.

        Return the lists of which the server tells changes. Raise ValueError when the
        answer is not what was agreed on.
        """
        agreed = look(_decode_initialized, result)
        if agreed is None:
            raise ValueError("The server refused to shake hands again")
        before = self.handshake["protocolVersion"] if self.handshake else None
        if agreed.revision != before:
            raise ValueError(
                f"The server spoke {before} and now speaks {agreed.revision[:20]}"
            )
        return list(_find_lists(agreed.capabilities))


def _find_lists(capabilities: dict[str, Any]) -> Iterator[str]:
    for name in LISTS:
        offered = capabilities.get(name)
        if isinstance(offered, dict) and offered.get("listChanged") is True:
            yield name
