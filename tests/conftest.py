"""What all tests share: every frame that leaves is held against the reference."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache

from mcp_channels import policy
from mcp_channels.protocol.connection import Connection, Request
from mcp_channels.protocol.server import ServerConnection
from tests.reference import Reference

pytest_plugins = [
    "mcp_channels.pytest_plugin",
    "tests.plugins.no_skips",
    "tests.plugins.postgres",
]


@pytest.fixture(autouse=True)
def no_rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let no test need a database to connect: there is nothing but the settings."""
    policy.forget_policy()
    with monkeypatch.context() as patch:
        patch.setattr(policy, "compile_policy", policy.Policy)
        yield patch
    policy.forget_policy()


@pytest.fixture
def rows(no_rows: pytest.MonkeyPatch, transactional_db: None) -> None:
    """Let the rows of the database count."""
    no_rows.undo()


@pytest.fixture(autouse=True)
def no_failures() -> Iterator[None]:
    """Let no test suffer for the failed attempts of another."""
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def reference(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reference]:
    """Check every frame that a connection puts into its outbox."""
    reference = Reference()

    def watch(owner: type, name: str, look: Any) -> None:
        original = getattr(owner, name)

        def watched(self: Any, *arguments: Any, **keywords: Any) -> Any:
            return look(original, self, *arguments, **keywords)

        monkeypatch.setattr(owner, name, watched)

    def encode(original: Any, self: Any, request: Request, result: Any) -> str:
        frame: str = original(self, request, result)
        reference.result(request, frame)
        return frame

    def put(original: Any, self: Any, frame: str) -> Any:
        reference.frame(frame)
        return original(self, frame)

    def send(
        original: Any, self: Any, request: Request, *rest: Any, **more: Any
    ) -> Any:
        reference.speak(request.revision)
        return original(self, request, *rest, **more)

    def tell(original: Any, self: Any, what: Any, to: Any) -> Any:
        # To a listen, or to the client of the handshake.
        whom = to if isinstance(to, Request) else self.handshake
        if whom is not None:
            reference.speak(whom.revision)
        return original(self, what, to)

    watch(ServerConnection, "_encode", encode)
    watch(ServerConnection, "send_progress", send)
    watch(ServerConnection, "send_log", send)
    watch(ServerConnection, "send_acknowledged", send)
    watch(ServerConnection, "send_list_changed", tell)
    watch(ServerConnection, "send_resource_updated", tell)
    watch(ServerConnection, "send_request", tell)
    watch(Connection, "_put", put)
    watch(Connection, "_put_notice", put)
    yield reference
