"""
Talk to a served demo as a client does, and judge every answer.

Nothing here imports Django or the package: what is proved is what any client sees.
"""

import asyncio
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from websockets.exceptions import InvalidStatus, WebSocketException

from project.check.era import LEGACY, MODERN, check_introduction, introduced
from project.check.judge import Judge, heading
from project.check.models import check_models
from project.check.prompts import check_prompts
from project.check.questions import check_questions
from project.check.resources import check_resources
from project.check.server import served
from project.check.subscriptions import check_listens, check_subscriptions
from project.check.tools import check_tools
from project.check.trips import check_trips
from project.demo import HOST, snippet
from project.peer import ANSWER_TIMEOUT, LINE, CheckFailed, Json, sign_in

__all__ = ["run"]

TIMEOUT = 300  # seconds for everything

# What ada's clients let themselves be asked.
CAPABILITIES: Json = {"elicitation": {}, "roots": {}, "sampling": {}}


def run() -> int:
    """Serve, converse and judge; return the exit status."""
    started, judge = time.monotonic(), Judge()
    try:
        asyncio.run(check(judge))
    except CheckFailed as exc:
        print(f"\nFAILED: {exc}", flush=True)
        return 1
    except (LookupError, OSError, TypeError, WebSocketException) as exc:
        # An answer without a member that it must have, a connection that broke, or
        # no end to it all.
        print(f"\nFAILED: {type(exc).__name__}: {exc}", flush=True)
        return 1
    seconds = time.monotonic() - started
    print(f"\nAll {judge.proved} claims hold ({seconds:.0f} s).", flush=True)
    return 0


async def check(judge: Judge) -> None:
    with tempfile.TemporaryDirectory(prefix="atlas-") as directory:
        async with asyncio.timeout(TIMEOUT), served(Path(directory)) as port:
            url = f"ws://{HOST}:{port}/ws"
            heading(f"The demo listens at {url}")
            print(
                "-> is what a client sends, <- what it gets, ok a claim that holds.\n"
                "Long messages are cut, and what _meta said before is left out."
            )
            await check_snippet(judge, url)
            await check_anonymous(judge, url, is_modern=False)
            await check_anonymous(judge, url, is_modern=True)
            await check_signed_in(judge, port, url)
    judge.expect(True, "the server ends when told to, without a traceback")


async def check_snippet(judge: Judge, url: str) -> None:
    heading("The program that the demo prints when it starts")
    print(textwrap.indent(snippet(url), "   | ", lambda line: True), flush=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", snippet(url)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    text = output.decode()
    print(" ".join(text.split())[:LINE], "...", flush=True)
    judge.expect('"geonameid": 2267057' in text, "it finds Lisbon", text)


async def check_anonymous(judge: Judge, url: str, *, is_modern: bool) -> None:
    heading(name_of(is_modern))
    label = "modern" if is_modern else "legacy"
    async with introduced(url, label, is_modern=is_modern) as peer:
        await check_introduction(judge, peer)
        for subject, converse in (
            ("tools", check_tools),
            ("resources", check_resources),
            ("prompts", check_prompts),
        ):
            heading(f"{name_of(is_modern)}: {subject}")
            await converse(judge, peer)
        judge.expect(not peer.strays, "nothing came unasked", peer.strays)


async def check_signed_in(judge: Judge, port: int, url: str) -> None:
    heading("Signed in as ada, by session cookie")
    site = f"http://{HOST}:{port}"
    cookie = await asyncio.to_thread(sign_in, site, "ada", "ada")
    judge.expect(cookie.startswith("sessionid="), "the admin's form signs ada in")
    other = await asyncio.to_thread(sign_in, site, "grace", "grace")
    async with (
        introduced(
            *(url, "legacy ada"),
            is_modern=False,
            capabilities=CAPABILITIES,
            cookie=cookie,
            origin=site,
        ) as legacy,
        introduced(
            *(url, "modern ada"),
            is_modern=True,
            capabilities=CAPABILITIES,
            cookie=cookie,
            origin=site,
        ) as modern,
        introduced(
            *(url, "grace"),
            is_modern=True,
            capabilities=CAPABILITIES,
            cookie=other,
            origin=site,
        ) as grace,
    ):
        await check_trips(judge, modern, grace)
        heading("Rows of the models")
        await check_models(judge, legacy, modern, grace)
        for peer in (legacy, modern):
            heading(f"{name_of(peer.is_modern)}: questions to the client")
            await check_questions(judge, peer, grace)
        heading(f"{name_of(False)}: subscriptions")
        await check_subscriptions(judge, legacy, modern)
        heading(f"{name_of(True)}: listens")
        await check_listens(judge, modern, legacy)
        strays = [*legacy.strays, *modern.strays, *grace.strays]
        judge.expect(not strays, "nothing came unasked", strays)
    await check_stranger(judge, url, cookie)


async def check_stranger(judge: Judge, url: str, cookie: str) -> None:
    heading("A page from elsewhere")
    try:
        async with introduced(
            *(url, "mallory"),
            is_modern=True,
            cookie=cookie,
            origin="https://evil.example",
        ):
            status = 101
    except InvalidStatus as exc:
        status = exc.response.status_code
    judge.expect(
        status in (401, 403), f"it cannot use her cookie: status {status}", status
    )


def name_of(is_modern: bool) -> str:
    return f"Modern era, {MODERN}" if is_modern else f"Legacy era, {LEGACY}"
