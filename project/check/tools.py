"""Tools: listed, called, called wrongly, watched and cancelled."""

import asyncio
import json
from collections.abc import Callable

from project.check.era import LOGGED
from project.check.judge import Judge
from project.peer import Json, Peer

__all__ = ["check_tools"]

TOOLS = {
    *("find_city", "nearest_cities", "distance_between", "route_length"),
    *("time_difference", "sunrise_sunset", "country_profile", "compare_countries"),
    *("my_trips", "plan_trip", "cancel_trip", "export_trip", "describe_city"),
    *("list_cities", "get_city", "aggregate_cities", "describe_models"),
    *("list_countries", "get_country", "aggregate_countries"),
}

# Nine cities, eight legs of a quarter second: long enough to be cancelled on the way.
ROUTE = [
    *("Lisbon, PT", "Madrid, ES", "Toulouse, FR", "Milan, IT", "Vienna, AT"),
    *("Krakow, PL", "Vilnius, LT", "Riga, LV", "Tallinn, EE"),
]
ROUTE_SECONDS = 2.0


async def check_tools(judge: Judge, peer: Peer) -> None:
    """List tools and call them: the same in both eras, but for the envelope."""
    await check_list(judge, peer)
    await check_calls(judge, peer)
    await check_mistakes(judge, peer)
    await check_progress(judge, peer)
    await check_cancellation(judge, peer)


async def check_list(judge: Judge, peer: Peer) -> None:
    tools: list[Json] = []
    params: Json = {}
    pages = 0
    while pages < 20:
        page = await peer.request("tools/list", params)
        tools += page["tools"]
        pages += 1
        judge.expect(
            page.get("resultType") == ("complete" if peer.is_modern else None)
            and ("ttlMs" in page and "cacheScope" in page) == peer.is_modern,
            f"page {pages} of the list is of its era",
            page,
        )
        if "nextCursor" not in page:
            break
        params = {"cursor": page["nextCursor"]}
    names = [tool["name"] for tool in tools]
    judge.expect(
        set(names) == TOOLS and len(names) == len(TOOLS) and pages == 5,
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
        and by_name["plan_trip"]["annotations"]["destructiveHint"] is False
        and by_name["cancel_trip"]["annotations"]["destructiveHint"] is True,
        "tools that read, write and destroy are told apart",
        [by_name["find_city"], by_name["plan_trip"], by_name["cancel_trip"]],
    )


async def check_calls(judge: Judge, peer: Peer) -> None:
    result = await peer.call("find_city", {"name": "Lisboa", "country": "PT"})
    judge.expect(
        result.get("resultType") == ("complete" if peer.is_modern else None)
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
    error = await peer.refusal("tools/call", {"name": "teleport", "arguments": {}})
    judge.expect(error.get("code") == -32602, "an unknown tool is an error", error)


async def check_progress(judge: Judge, peer: Peer) -> None:
    # The legacy client has set the level for the connection, the modern one asks for
    # each request.
    level = LOGGED if peer.is_modern else {}
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
