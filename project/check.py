"""
Talk to a served demo as a client does, and judge every answer.

Nothing here imports Django or the package: what is proved is what any client sees.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.exceptions import InvalidStatus, WebSocketException

from project.demo import HOST, snippet
from project.peer import (
    ANSWER_TIMEOUT,
    CheckFailed,
    Json,
    Peer,
    connected,
    shorten,
    sign_in,
)

__all__ = ["Judge", "run"]

START_TIMEOUT = 180  # seconds to load the data and listen; a busy machine takes twenty
STOP_TIMEOUT = 15  # seconds for the server to end when told to
TIMEOUT = 300  # seconds for everything

LEGACY = "2025-06-18"
MODERN = "2026-07-28"
CLIENT = {"name": "project.check", "version": "1.0"}
KEY = "io.modelcontextprotocol/"

TOOLS = {
    *("find_city", "nearest_cities", "distance_between", "route_length"),
    *("time_difference", "sunrise_sunset", "country_profile", "compare_countries"),
    *("my_trips", "plan_trip"),
}

# Nine cities, eight legs of a quarter second: long enough to be cancelled on the way.
ROUTE = [
    *("Lisbon, PT", "Madrid, ES", "Toulouse, FR", "Milan, IT", "Vienna, AT"),
    *("Krakow, PL", "Vilnius, LT", "Riga, LV", "Tallinn, EE"),
]
ROUTE_SECONDS = 2.0


class Judge:
    """Keeps count of what was proved, and says so."""

    def __init__(self) -> None:
        self.proved = 0

    def expect(self, condition: object, claim: str, seen: object = None) -> None:
        """Print a claim that holds. Raise CheckFailed, with what was seen, if not."""
        if not condition:
            raise CheckFailed(f"Not so: {claim}. Seen: {shorten(seen, 2000)}")
        self.proved += 1
        print(f"   ok {claim}", flush=True)


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[int]:
    """
    Serve the demo in a child process, and yield its port.

    Raise CheckFailed when it does not start, or does not end when it should, or wrote
    a traceback.
    """
    lines: list[str] = []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "project.demo", "--port", "0"),
        cwd=Path(__file__).resolve().parent.parent,
        env={
            **os.environ,
            "DEMO_DATABASE": str(directory / "check.sqlite3"),
            "DEMO_DEBUG": "1",
            "DEMO_PAGE_SIZE": "4",
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "PYTHONUNBUFFERED": "1",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    reader = asyncio.create_task(collect(process, lines, port))
    try:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                number = await port
        except TimeoutError:
            raise CheckFailed(f"The demo did not start in {START_TIMEOUT} s") from None
        yield number
        if process.returncode is not None:
            raise CheckFailed(f"The server ended by itself, {process.returncode}")
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await process.wait()
        except TimeoutError:
            raise CheckFailed("The server did not end when told to") from None
        await reader
        if any("Traceback" in line for line in lines):
            raise CheckFailed("The server wrote a traceback")
    except BaseException:
        print("What the server wrote, its last 60 lines:", *lines[-60:], sep="\n   | ")
        raise
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        reader.cancel()


async def collect(
    process: asyncio.subprocess.Process, lines: list[str], port: asyncio.Future[int]
) -> None:
    """Keep what the server writes, and find in it where it listens."""
    assert process.stdout is not None
    async for line in process.stdout:
        lines.append(line.decode(errors="replace").rstrip())
        found = re.search(rf"ws://{re.escape(HOST)}:(\d+)/", lines[-1])
        if found and not port.done():
            port.set_result(int(found[1]))
    if not port.done():
        port.set_exception(CheckFailed("The demo ended before it listened"))


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
            await check_snippet(judge, url)
            await check_legacy(judge, url)
            await check_modern(judge, url)
            await check_signed_in(judge, port, url)
    judge.expect(True, "the server ends when told to, without a traceback")


async def check_snippet(judge: Judge, url: str) -> None:
    heading("The program that the demo prints")
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
    judge.expect('"geonameid": 2267057' in text, "it finds Lisbon", text)


async def check_legacy(judge: Judge, url: str) -> None:
    heading(f"Legacy era, revision {LEGACY}")
    async with connected(url, "legacy") as peer:
        protocol = peer.socket.subprotocol
        judge.expect(protocol == "mcp", "the subprotocol is mcp", protocol)
        result = await peer.request(
            "initialize",
            {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT},
        )
        judge.expect(
            result["protocolVersion"] == LEGACY
            and result["serverInfo"]["name"] == "atlas"
            and "tools" in result["capabilities"]
            and "resultType" not in result,
            "initialize agrees on the revision and offers tools",
            result,
        )
        await peer.notify("notifications/initialized")
        pong = await peer.request("ping", {})
        judge.expect(pong == {}, "ping is answered with nothing", pong)
        level = await peer.request("logging/setLevel", {"level": "info"})
        judge.expect(level == {}, "the log level is set", level)
        await check_tools(judge, peer, is_modern=False)


async def check_modern(judge: Judge, url: str) -> None:
    heading(f"Modern era, revision {MODERN}")
    envelope = {
        f"{KEY}protocolVersion": MODERN,
        f"{KEY}clientCapabilities": {},
        f"{KEY}clientInfo": CLIENT,
    }
    async with connected(url, "modern", envelope) as peer:
        result = await peer.request("server/discover", {})
        judge.expect(
            MODERN in result["supportedVersions"]
            and "tools" in result["capabilities"]
            and result["resultType"] == "complete"
            and result["_meta"][f"{KEY}serverInfo"]["name"] == "atlas",
            "server/discover names the revision, the server and its tools",
            result,
        )
        id = await peer.ask("tools/list", {}, {f"{KEY}protocolVersion": "2099-01-01"})
        error = (await peer.answer(id)).get("error", {})
        judge.expect(
            error.get("code") == -32022
            and MODERN in error["data"]["supported"]
            and error["data"]["requested"] == "2099-01-01",
            "an unknown revision is refused with those that are known",
            error,
        )
        await check_tools(judge, peer, is_modern=True)


async def check_tools(judge: Judge, peer: Peer, *, is_modern: bool) -> None:
    """List tools and call them: the same in both eras, but for the envelope."""
    await check_list(judge, peer, is_modern=is_modern)
    await check_calls(judge, peer, is_modern=is_modern)
    await check_mistakes(judge, peer)
    await check_progress(judge, peer, is_modern=is_modern)
    await check_cancellation(judge, peer)
    judge.expect(not peer.strays, "nothing came that was not asked for", peer.strays)


async def check_list(judge: Judge, peer: Peer, *, is_modern: bool) -> None:
    tools: list[Json] = []
    params: Json = {}
    pages = 0
    while pages < 20:
        page = await peer.request("tools/list", params)
        tools += page["tools"]
        pages += 1
        judge.expect(
            page.get("resultType") == ("complete" if is_modern else None)
            and ("ttlMs" in page and "cacheScope" in page) == is_modern,
            f"page {pages} of the list is of its era",
            page,
        )
        if "nextCursor" not in page:
            break
        params = {"cursor": page["nextCursor"]}
    names = [tool["name"] for tool in tools]
    judge.expect(
        set(names) == TOOLS and len(names) == len(TOOLS) and pages == 3,
        f"{pages} pages list {len(names)} tools, each once",
        names,
    )
    judge.expect(
        all(
            tool["description"]
            and tool["inputSchema"]["type"] == "object"
            and tool["outputSchema"]["type"] == "object"
            for tool in tools
        ),
        "each has a description, an input schema and an output schema",
        tools,
    )
    by_name = {tool["name"]: tool for tool in tools}
    judge.expect(
        by_name["find_city"]["annotations"]["readOnlyHint"] is True
        and by_name["plan_trip"]["annotations"]["readOnlyHint"] is False
        and by_name["plan_trip"]["annotations"]["destructiveHint"] is False,
        "reading and writing tools are told apart",
        [by_name["find_city"], by_name["plan_trip"]],
    )


async def check_calls(judge: Judge, peer: Peer, *, is_modern: bool) -> None:
    result = await peer.call("find_city", {"name": "Lisboa", "country": "PT"})
    judge.expect(
        result.get("resultType") == ("complete" if is_modern else None)
        and not result.get("isError")
        and result["structuredContent"]["cities"][0]["geonameid"] == 2267057
        and json.loads(result["content"][0]["text"]) == result["structuredContent"],
        "find_city knows Lisbon by its own name, as data and as text",
        result,
    )
    cases: list[tuple[str, Json, Callable[[Json], object], str]] = [
        (
            "distance_between",
            {"origin": "Lisbon", "destination": 2735943},
            lambda it: 270 < it["distance_km"] < 277 and it["direction"] == "N",
            "Porto is 274 km north of Lisbon",
        ),
        (
            "nearest_cities",
            {"city": "Suva", "radius_km": 1000, "limit": 20},
            lambda it: (
                {"Fiji", "Tonga"} <= {near["city"]["country"] for near in it["cities"]}
            ),
            "Suva has neighbours on both sides of the date line",
        ),
        (
            "time_difference",
            {
                "origin": "Lisbon",
                "destination": "Tokyo",
                "at": "2026-07-01T12:00:00",
            },
            lambda it: (
                it["difference_minutes"] == 480
                and it["destination"]["local"] == "2026-07-01T20:00:00+09:00"
            ),
            "Tokyo is 8 hours ahead of Lisbon in summer",
        ),
        (
            "sunrise_sunset",
            {"city": "Tromsø", "on": "2026-12-21"},
            lambda it: it["sunrise"] is None and it["daylight_minutes"] == 0,
            "the sun does not rise over Tromsø in December",
        ),
        (
            "country_profile",
            {"country": "Portugal"},
            lambda it: (
                it["capital"] == "Lisbon"
                and [other["code"] for other in it["neighbours"]] == ["ES"]
            ),
            "Portugal borders Spain alone",
        ),
        (
            "compare_countries",
            {"countries": ["PT", "Spain", "AND"], "by": "area"},
            lambda it: (
                [country["code"] for country in it["ranking"]] == ["ES", "PT", "AD"]
            ),
            "Spain is larger than Portugal, and that than Andorra",
        ),
    ]
    for name, arguments, is_right, claim in cases:
        result = await peer.call(name, arguments)
        content = result.get("structuredContent")
        judge.expect(
            not result.get("isError") and content and is_right(content), claim, result
        )


async def check_mistakes(judge: Judge, peer: Peer) -> None:
    """Make the mistakes that an agent makes."""
    mistakes: list[tuple[str, Json, str, str]] = [
        (
            "distance_between",
            {"origin": "Springfield", "destination": "Lisbon"},
            "4250542",
            "an ambiguous name is answered with the candidates' ids",
        ),
        (
            "find_city",
            {"name": "Lisbon", "limit": "ten"},
            "limit",
            "a wrong argument is named",
        ),
        (
            "find_city",
            {"name": "Lisbon", "planet": "Mars"},
            "planet",
            "an unknown argument is named",
        ),
        ("my_trips", {}, "sign in", "trips need somebody who is signed in"),
    ]
    for name, arguments, hint, claim in mistakes:
        result = await peer.call(name, arguments)
        text = "".join(block.get("text", "") for block in result["content"])
        judge.expect(result.get("isError") is True and hint in text, claim, result)
    id = await peer.ask("tools/call", {"name": "teleport", "arguments": {}})
    error = (await peer.answer(id)).get("error", {})
    judge.expect(error.get("code") == -32602, "an unknown tool is an error", error)


async def check_progress(judge: Judge, peer: Peer, *, is_modern: bool) -> None:
    # The legacy client has set the level for the connection, the modern one asks for
    # each request.
    level = {f"{KEY}logLevel": "info"} if is_modern else {}
    meta = {"progressToken": "route", **level}
    call = {"name": "route_length", "arguments": {"stops": ROUTE[:4]}}
    answer = await peer.answer(await peer.ask("tools/call", call, meta))
    steps = [(step["progress"], step.get("total")) for step in peer.progress("route")]
    judge.expect(
        steps == [(1, 3), (2, 3), (3, 3)] and peer.heard[-1] is answer,
        "route_length tells its progress after each leg, and then answers",
        peer.heard[-4:],
    )
    judge.expect(
        any(entry["level"] == "info" for entry in peer.logged()),
        "route_length logs what it does",
        peer.logged(),
    )
    route = answer["result"]["structuredContent"]
    judge.expect(
        len(route["legs"]) == 3 and 1600 < route["total_km"] < 1900,
        "the route from Lisbon to Milan is measured",
        route,
    )


async def check_cancellation(judge: Judge, peer: Peer) -> None:
    id = await peer.ask(
        "tools/call",
        {"name": "route_length", "arguments": {"stops": ROUTE}},
        {"progressToken": "cancelled"},
    )
    await peer.until(lambda: peer.progress("cancelled"), "progress to cancel")
    await peer.notify(
        "notifications/cancelled", {"requestId": id, "reason": "enough seen"}
    )
    result = await peer.call("find_city", {"name": "Porto"})
    judge.expect(
        not result.get("isError"), "another call is answered meanwhile", result
    )
    # What was sent before the server read the cancellation came before this answer.
    steps = len(peer.progress("cancelled"))
    await asyncio.sleep(ROUTE_SECONDS + 1)
    await peer.call("find_city", {"name": "Braga"})
    judge.expect(
        id not in peer.answers and len(peer.progress("cancelled")) == steps < 8,
        f"request {id}, cancelled after leg {steps} of 8, is never answered",
        peer.answers.get(id),
    )


async def check_signed_in(judge: Judge, port: int, url: str) -> None:
    heading("Signed in as ada, by session cookie")
    site = f"http://{HOST}:{port}"
    cookie = await asyncio.to_thread(sign_in, site, "ada", "ada")
    judge.expect(cookie.startswith("sessionid="), "the admin's form signs ada in")
    envelope = {f"{KEY}protocolVersion": MODERN, f"{KEY}clientCapabilities": {}}
    async with connected(url, "ada", envelope, cookie=cookie, origin=site) as peer:
        mine = await peer.call("my_trips", {})
        titles = [trip["title"] for trip in mine["structuredContent"]["trips"]]
        judge.expect(
            titles == ["Iberian rivers", "Northern light"], "ada sees her trips", titles
        )
        start = mine["structuredContent"]["trips"][0]["starts_on"]
        plan = {
            "title": "A weekend away",
            "starts_on": start,
            "stops": [{"city": "Porto", "nights": 2}, {"city": "Lisbon", "nights": 1}],
        }
        planned = await peer.call("plan_trip", plan)
        judge.expect(
            not planned.get("isError") and planned["structuredContent"]["nights"] == 3,
            "ada plans a trip",
            planned,
        )
        again = await peer.call("plan_trip", plan)
        judge.expect(again.get("isError"), "the same trip is not planned twice", again)
        mine = await peer.call("my_trips", {})
        titles = [trip["title"] for trip in mine["structuredContent"]["trips"]]
        judge.expect("A weekend away" in titles, "the trip is there", titles)
        judge.expect(not peer.strays, "nothing came unasked", peer.strays)
    try:
        async with connected(
            url, "mallory", envelope, cookie=cookie, origin="https://evil.example"
        ):
            status = 101
    except InvalidStatus as exc:
        status = exc.response.status_code
    judge.expect(
        status in (401, 403), "a page from elsewhere cannot use her cookie", status
    )


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)
