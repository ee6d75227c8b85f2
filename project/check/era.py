"""How a client introduces itself, in each of the two eras of the protocol."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from project.check.judge import Judge
from project.peer import Json, Peer, connected

__all__ = [
    "KEY",
    "LEGACY",
    "LOGGED",
    "MODERN",
    "OFFERED",
    "check_introduction",
    "introduced",
]

LEGACY = "2025-06-18"
MODERN = "2026-07-28"
CLIENT = {"name": "project.check", "version": "1.0"}
KEY = "io.modelcontextprotocol/"
LOGGED = {f"{KEY}logLevel": "info"}  # goes into `_meta` of a modern request

OFFERED = {"tools", "resources", "prompts", "completions", "logging"}

# What a client lets itself be asked, and with which capability it says so.
QUESTIONS = {
    "elicitation": "elicitation/create",
    "roots": "roots/list",
    "sampling": "sampling/createMessage",
}


@asynccontextmanager
async def introduced(
    url: str,
    label: str,
    *,
    is_modern: bool,
    capabilities: Json | None = None,
    cookie: str | None = None,
    origin: str | None = None,
) -> AsyncIterator[Peer]:
    """Connect as a client of one era with some capabilities, none for None."""
    capabilities = capabilities or {}
    envelope = {
        f"{KEY}protocolVersion": MODERN,
        f"{KEY}clientCapabilities": capabilities,
        f"{KEY}clientInfo": CLIENT,
    }
    async with connected(
        url,
        label,
        envelope if is_modern else None,
        # A modern client is never asked over the socket.
        answerable=() if is_modern else [QUESTIONS[name] for name in capabilities],
        cookie=cookie,
        origin=origin,
    ) as peer:
        if not is_modern:
            peer.introduction = await peer.request(
                "initialize",
                {
                    "protocolVersion": LEGACY,
                    "capabilities": capabilities,
                    "clientInfo": CLIENT,
                },
            )
            await peer.notify("notifications/initialized")
            await peer.request("logging/setLevel", {"level": "info"})
        yield peer


async def check_introduction(judge: Judge, peer: Peer) -> None:
    protocol = peer.socket.subprotocol
    judge.expect(protocol == "mcp", "the subprotocol is mcp", protocol)
    if peer.is_modern:
        await check_discovery(judge, peer)
    else:
        await check_handshake(judge, peer)


async def check_handshake(judge: Judge, peer: Peer) -> None:
    result = peer.introduction
    judge.expect(
        result["protocolVersion"] == LEGACY
        and result["serverInfo"]["name"] == "atlas"
        and result["capabilities"].keys() >= OFFERED
        and result["capabilities"]["resources"]["subscribe"] is True
        and "resultType" not in result,
        "initialize agrees on the revision and offers everything",
        result,
    )
    pong = await peer.request("ping", {})
    judge.expect(pong == {}, "ping is answered with nothing", pong)


async def check_discovery(judge: Judge, peer: Peer) -> None:
    result = await peer.request("server/discover", {})
    judge.expect(
        MODERN in result["supportedVersions"]
        and result["capabilities"].keys() >= OFFERED
        and result["resultType"] == "complete"
        and result["_meta"][f"{KEY}serverInfo"]["name"] == "atlas",
        "server/discover names the revision, the server and all it offers",
        result,
    )
    error = await peer.refusal(
        "tools/list", {}, {f"{KEY}protocolVersion": "2099-01-01"}
    )
    judge.expect(
        error.get("code") == -32022
        and MODERN in error["data"]["supported"]
        and error["data"]["requested"] == "2099-01-01",
        "an unknown revision is refused with those that are known",
        error,
    )
