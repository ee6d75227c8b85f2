"""
The WebSocket binding: one JSON-RPC message per text frame.

The rules, with the close codes, are in docs/websocket.md.
"""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import replace
from functools import lru_cache, partial
from time import monotonic
from typing import Any, ClassVar

from asgiref.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    WebSocketConnectEvent,
    WebSocketDisconnectEvent,
    WebSocketReceiveEvent,
)
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.db import DatabaseError
from msgspec import UNSET

from mcp_channels.auth import (
    Refused,
    admit,
    authenticate,
    choose_subprotocol,
    renew,
    without_credentials,
)
from mcp_channels.conf import Settings, get_settings
from mcp_channels.policy import Policy, current_policy, renew_policy
from mcp_channels.protocol.connection import Limits
from mcp_channels.protocol.description import ServerDescription
from mcp_channels.protocol.types import Implementation
from mcp_channels.server.access import Renewed
from mcp_channels.server.audience import Audience
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.concurrency import get_access_workers, get_workers
from mcp_channels.server.dispatch import Dispatcher
from mcp_channels.server.events import AccessChanged
from mcp_channels.server.permissions import EndpointPolicy, Identity
from mcp_channels.server.registry import Registry, registry
from mcp_channels.watch import unwatch, watch
from mcp_channels.worker import get_worker

__all__ = ["MCPConsumer"]

logger = logging.getLogger("mcp_channels")


class MCPConsumer(AsyncJsonWebsocketConsumer):
    """
    Serve MCP to one client.

    A subclass may serve another `registry`. Of what it inherits, `receive()` and
    `receive_json()` are never called, and `groups` are not joined: the dispatcher takes
    the frames. `send_json()` works, but goes past the outbox and its limits.
    """

    registry: ClassVar[Registry] = registry

    dispatcher: Dispatcher | None = None  # None until the client is let in

    async def __call__(
        self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve until the client goes, or the server cancels this."""
        self.scope = scope
        self.base_send = send
        # Channels waits for messages of a channel layer besides those of the client,
        # and cleans the database before each: two task switches and a thread hop that
        # this consumer has no use for. Threads that touch the database clean up.
        try:
            while True:
                message = await receive()
                try:
                    await self.dispatch(message)
                except StopConsumer:
                    break
                except Exception:
                    if self.dispatcher is None:
                        raise  # the server answers 500
                    # Servers differ in what they make of it, and not all tell the
                    # client.
                    logger.exception("Connection failed")
                    self.dispatcher.close(1011, "Internal error")
        finally:
            if self._idle_timer is not None:
                self._idle_timer.cancel()
            if self._audience is not None:
                await self._leave(self._audience)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle_timer: asyncio.TimerHandle | None = None
        self._worker = get_worker()
        # Both also before the socket is accepted.
        self._audience: Audience | None = None
        self._joined: Dispatcher | None = None
        self._last_frame = monotonic()

    async def dispatch(self, message: Any) -> None:
        """Call the method that is named after the type of `message`."""
        handler = getattr(self, message["type"].replace(".", "_"))
        await handler(message)

    async def websocket_connect(self, message: WebSocketConnectEvent) -> None:
        """Accept the socket, or refuse it with an HTTP status."""
        # Before anything is looked up, so that nothing is missed that changes it.
        audience = self._audience = self._worker.enter()
        await self._worker.settle()
        heard = audience.heard
        # Without another connection nobody has heard what happened before.
        since = audience.heard_at if audience.sessions else monotonic()
        try:
            subprotocol = choose_subprotocol(self.scope.get("subprotocols", ()))
            identity, catalogue = await self._enter(since)
        except Refused as exc:
            await refuse(self.scope, self.base_send, exc)
            return
        self.scope: Any = without_credentials(self.scope)
        settings = get_settings()
        dispatcher = Dispatcher(
            id=self._worker.next_connection_id(),
            audience=audience,
            description=_describe(
                self.registry, self.registry.revision, settings, identity.endpoint
            ),
            limits=_limits(settings),
            identity=identity,
            catalogue=catalogue,
            renew=self._renew,
            workers=get_workers(settings.SYNC_THREADS),
            send=self._send_frame,
            close=self.close,
            call_timeout=settings.CALL_TIMEOUT,
            interaction_timeout=settings.INTERACTION_TIMEOUT,
            max_in_flight=settings.MAX_REQUESTS_IN_FLIGHT,
            max_subscriptions=settings.MAX_SUBSCRIPTIONS,
        )
        audience.add(dispatcher)
        watch(dispatcher)
        self._joined = dispatcher
        if audience.heard != heard:
            # It may have been looked up before that happened.
            dispatcher.notify(AccessChanged("everybody"))
        self._max_bytes = settings.MAX_FRAME_BYTES
        await self.accept(subprotocol)
        self.dispatcher = dispatcher
        self._last_frame = monotonic()
        if settings.IDLE_TIMEOUT is not None:
            self._watch(dispatcher, settings.IDLE_TIMEOUT)

    async def websocket_receive(self, message: WebSocketReceiveEvent) -> None:
        """Hand a text frame to the dispatcher; it never waits for an answer."""
        dispatcher = self.dispatcher
        if dispatcher is None:
            # Some servers deliver what came before they refused the socket.
            return
        self._last_frame = monotonic()
        text = message.get("text")
        if text is None:
            dispatcher.close(1003, "Only text frames are understood")
        elif self._max_bytes is not None and _is_longer(text, self._max_bytes):
            dispatcher.close(1009, f"A frame may have {self._max_bytes} bytes")
        else:
            dispatcher.receive(text)
            if dispatcher.connection.has_frames:
                # Waiting for a frame that has arrived already switches no task: the
                # answers to a long row of frames would pile up here, as if the client
                # read too slowly.
                await asyncio.sleep(0)

    async def websocket_disconnect(self, message: WebSocketDisconnectEvent) -> None:
        """End; what is in flight is cancelled."""
        raise StopConsumer

    async def _enter(self, since: float) -> Renewed:
        """Return who wants to come in, and what they see, by a policy that is not from
        before `since`. Raise Refused for who may not."""
        workers = get_access_workers()
        # As URLRouter does, and application().
        slug = self.scope.get("url_route", {}).get("kwargs", {}).get("endpoint", "")
        try:
            policy = current_policy(since)
            if policy is None:
                policy = await workers.run(renew_policy, since)
            endpoint = policy.find_endpoint(slug)
            if endpoint is None:
                raise Refused(404, "There is nothing here")
            identity = await authenticate(self.scope, endpoint)
            find = partial(self._find_catalogue, identity, policy)
            if any(p.needs_permission for p in policy.offer(self.registry)):
                return identity, await workers.run(find)
            return identity, find()
        except DatabaseError:
            # Whoever cannot be looked up does not come in.
            logger.exception("Connection refused")
            raise Refused(503, "Try again later") from None

    async def _renew(
        self, identity: Identity, since: float, must_look: bool
    ) -> Renewed | None:
        """Return what holds now; see server.access.Renew."""

        def look() -> Renewed | None:
            policy = renew_policy(since)
            endpoint = policy.find_endpoint(identity.endpoint.slug)
            fresh = renew(identity) if must_look else identity
            if endpoint is None or fresh is None:
                return None
            fresh = replace(fresh, endpoint=endpoint)
            try:
                admit(fresh)
            except Refused:
                return None
            return fresh, self._find_catalogue(fresh, policy)

        return await get_access_workers().run(look)

    def _find_catalogue(self, identity: Identity, policy: Policy) -> Catalogue:
        return self.registry.catalogue_for(
            identity,
            page_size=identity.endpoint.page_size or get_settings().PAGE_SIZE,
            primitives=policy.offer(self.registry),
        )

    async def _leave(self, audience: Audience) -> None:
        if self._joined is not None:
            audience.discard(self._joined)
            unwatch(self._joined)
            await self._joined.shut()
        self._worker.leave(audience)

    async def close(
        self, code: int | bool | None = None, reason: str | None = None
    ) -> None:
        """
        Close the socket with this code, whatever the server.

        Daphne refuses the codes of RFC 6455 but 1000; where it cannot be helped, the
        code is 3000 more, as in 4003 for 1003.
        """
        is_open = self.dispatcher is not None  # else it is an HTTP status
        if not is_open or not isinstance(code, int) or not 1000 < code < 3000:
            await super().close(code, reason)
        elif not _close_at_daphne(self.base_send, code, reason or ""):
            try:
                await super().close(code, reason)
            except Exception:
                await super().close(3000 + code, reason)

    def _send_frame(self, text: str) -> Awaitable[None]:
        self._last_frame = monotonic()
        return self.base_send({"type": "websocket.send", "text": text, "bytes": None})

    def _watch(self, dispatcher: Dispatcher, timeout: float) -> None:
        """Close the connection once it was idle for `timeout` seconds."""
        # Who waits for an answer is not idle.
        idle = 0.0 if dispatcher.is_busy else monotonic() - self._last_frame
        if idle >= timeout:
            dispatcher.close(1000, "Idle for too long")
        else:
            self._idle_timer = dispatcher.loop.call_later(
                timeout - idle, self._watch, dispatcher, timeout
            )


async def refuse(scope: Any, send: ASGISendCallable, refused: Refused) -> None:
    """
    Refuse a socket that was not accepted.

    The status is 403 where the server has no denial responses (Daphne has none).
    """
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": refused.reason})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    start: Any = {
        "type": "websocket.http.response.start",
        "status": refused.status,
        "headers": headers,
    }
    await send(start)
    body = refused.reason.encode()
    end: Any = {"type": "websocket.http.response.body", "body": body}
    await send(end)


def _close_at_daphne(send: ASGISendCallable, code: int, reason: str) -> bool:
    """Send a close frame past Daphne; False when `send` is not Daphne's own."""
    # Daphne hands a code to autobahn's sendClose(), which takes from an application
    # only 1000 and 3000 to 4999, and raises for others. What it then uses itself takes
    # any. `send` is a partial of a method of Daphne's, with its protocol.
    protocol = next(iter(getattr(send, "args", ())), None)
    send_close_frame = getattr(protocol, "sendCloseFrame", None)
    if send_close_frame is None:
        return False
    send_close_frame(code=code, reasonUtf8=reason.encode())
    return True


def _is_longer(text: str, limit: int) -> bool:
    """Tell whether `text` has more than `limit` bytes of UTF-8."""
    # A character has one to four: mostly the count of characters settles it.
    if len(text) * 4 <= limit:
        return False
    return len(text) > limit or len(text.encode("utf-8", "surrogatepass")) > limit


@lru_cache
def _describe(
    registry: Registry, revision: int, settings: Settings, endpoint: EndpointPolicy
) -> ServerDescription:
    """Return what the server says of itself; `revision` is the registry's."""
    return ServerDescription(
        info=Implementation(
            name=settings.SERVER_NAME,
            version=settings.SERVER_VERSION,
            title=endpoint.title or settings.SERVER_TITLE or UNSET,
            website_url=endpoint.website_url or settings.WEBSITE_URL or UNSET,
            icons=list(endpoint.icons) or UNSET,
        ),
        capabilities=registry.capabilities,
        instructions=endpoint.instructions or settings.INSTRUCTIONS or UNSET,
    )


@lru_cache
def _limits(settings: Settings) -> Limits:
    return Limits(
        max_json_depth=settings.MAX_JSON_DEPTH,
        max_batch_length=settings.MAX_BATCH_LENGTH,
        max_outbox_frames=settings.MAX_OUTBOX_FRAMES,
        max_outbox_bytes=settings.MAX_OUTBOX_BYTES,
        max_violations=settings.MAX_VIOLATIONS,
    )
