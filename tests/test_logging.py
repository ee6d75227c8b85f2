"""What a function logs reaches the client that called it, and nobody else."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from mcp_channels.logging import ClientHandler
from mcp_channels.protocol.envelope import LOG_LEVEL
from tests.sites import LEGACY, Site, both_eras

LEVELS = [
    (logging.DEBUG, "debug"),
    (1, "debug"),
    (logging.INFO, "info"),
    (25, "info"),
    (logging.WARNING, "warning"),
    (logging.ERROR, "error"),
    (logging.CRITICAL, "critical"),
    (99, "critical"),
]


@pytest.fixture
def shop() -> Iterator[logging.Logger]:
    """A logger whose records go to the client."""
    logger = logging.getLogger("tests.shop")
    handler = ClientHandler()
    logger.addHandler(handler)
    logger.setLevel(1)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


async def logged(site: Site, revision: str, least: str = "debug") -> list[Any]:
    """Call the tool of a site and return the messages that came of it."""
    async with site.client(revision=revision) as client:
        params: dict[str, Any] = {"name": "work", "arguments": {}}
        if revision == LEGACY:
            await client.request("logging/setLevel", {"level": least})
        else:
            params["_meta"] = {LOG_LEVEL: least}
        await client.request("tools/call", params)
        return [
            message["params"]
            for message in client.notifications
            if message["method"] == "notifications/message"
        ]


@both_eras
async def test_levels_are_those_of_the_protocol(
    shop: logging.Logger, revision: str
) -> None:
    site = Site()

    @site.tool
    async def work() -> None:
        for level, _ in LEVELS:
            shop.log(level, "%s items", 3)

    assert await logged(site, revision) == [
        {"level": name, "logger": "tests.shop", "data": "3 items"} for _, name in LEVELS
    ]


@both_eras
async def test_client_decides_from_which_level_on(
    shop: logging.Logger, revision: str
) -> None:
    site = Site()

    @site.tool
    def work() -> None:
        shop.info("unwanted")
        shop.error("wanted")

    assert [m["data"] for m in await logged(site, revision, "warning")] == ["wanted"]


async def test_record_goes_to_the_client_of_its_own_call(shop: logging.Logger) -> None:
    site = Site()

    @site.tool
    async def work() -> None:
        shop.info("mine")

    async with site.client() as other:
        assert len(await logged(site, LEGACY)) == 1
        assert await other.receive_nothing()


def test_outside_of_a_request_nothing_happens(
    shop: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.error("nobody hears this")

    assert capsys.readouterr().err == ""


@both_eras
async def test_traceback_stays_on_the_site(shop: logging.Logger, revision: str) -> None:
    site = Site()

    @site.tool
    def work() -> None:
        try:
            raise RuntimeError("a secret of the site")
        except RuntimeError:
            shop.exception("It failed", stack_info=True)

    messages = await logged(site, revision)

    assert messages == [{"level": "error", "logger": "tests.shop", "data": "It failed"}]


async def test_failure_of_a_tool_is_told_without_its_reason() -> None:
    """Even when all that the package logs goes to the client."""
    site = Site()
    handler = ClientHandler()
    logger = logging.getLogger("mcp_channels")

    @site.tool
    def work() -> None:
        raise RuntimeError("a secret of the site")

    logger.addHandler(handler)
    try:
        messages = await logged(site, LEGACY)
    finally:
        logger.removeHandler(handler)

    assert [message["data"] for message in messages] == ["Tool 'work' failed"]


@pytest.mark.parametrize("message", ["%d items", "\ud800"])
async def test_record_that_cannot_be_sent_does_not_break_the_call(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    message: str,
) -> None:
    site = Site()
    handler = ClientHandler()
    monkeypatch.setattr(logging, "raiseExceptions", True)

    def make_record(message: str) -> logging.LogRecord:
        arguments = ("many",) if "%" in message else ()
        return logging.LogRecord("shop", 20, "f.py", 1, message, arguments, None)

    @site.tool
    def work() -> None:
        handler.handle(make_record(message))
        handler.handle(make_record("on it goes"))

    assert [m["data"] for m in await logged(site, LEGACY)] == ["on it goes"]
    assert "Logging error" in capsys.readouterr().err
