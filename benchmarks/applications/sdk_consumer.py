"""The official SDK's streams, pumped by an AsyncWebsocketConsumer as it comes."""

import asyncio
from typing import Any

import anyio
import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter


def make_application(engine: Server[Any]) -> ProtocolTypeRouter:
    """
    Serve `engine` at /ws on a Django site that has Channels and nothing else.

    No channel layer is configured: that would only cost this side more.
    """
    settings.configure(
        SECRET_KEY="benchmarks",
        ALLOWED_HOSTS=["127.0.0.1"],
        INSTALLED_APPS=["channels"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        },
    )
    django.setup()
    consumer = SDKConsumer.as_asgi(engine=engine)
    return ProtocolTypeRouter({"websocket": URLRouter([path("ws", consumer)])})


class SDKConsumer(AsyncWebsocketConsumer):
    """
    One connection: the SDK runs in a task, as it does on the SDK's own transports.

    The streams hold no messages in between, as in those transports.
    """

    def __init__(self, engine: Server[Any]) -> None:
        super().__init__()
        self.engine = engine

    async def connect(self) -> None:
        await self.accept()
        self.incoming, read_stream = anyio.create_memory_object_stream[
            SessionMessage | Exception
        ](0)
        write_stream, self.outgoing = anyio.create_memory_object_stream[SessionMessage](
            0
        )
        self.tasks = [
            asyncio.create_task(self.send_messages()),
            asyncio.create_task(
                self.engine.run(
                    read_stream,
                    write_stream,
                    self.engine.create_initialization_options(),
                )
            ),
        ]

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        message = jsonrpc_message_adapter.validate_json(text_data or "", by_name=False)
        await self.incoming.send(SessionMessage(message))

    async def send_messages(self) -> None:
        async for session_message in self.outgoing:
            await self.send(
                session_message.message.model_dump_json(
                    by_alias=True, exclude_unset=True
                )
            )

    async def disconnect(self, code: int) -> None:
        self.incoming.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)
