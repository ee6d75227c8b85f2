"""Rows: cities looked through and counted, a trip written by stops, and watched."""

from project.check.judge import Judge
from project.check.resources import not_found, read_json
from project.peer import Json, Peer

__all__ = ["check_models"]

UPDATED = "notifications/resources/updated"


async def check_models(judge: Judge, peer: Peer, other: Peer, stranger: Peer) -> None:
    """Let `peer` plan a trip, watched by `other`, who is the same person."""
    await check_reading(judge, peer)
    trip = await check_writing(judge, peer)
    await check_watching(judge, peer, other, trip)
    await check_limits(judge, stranger, trip)


async def check_reading(judge: Judge, peer: Peer) -> None:
    known = await content(peer, "describe_models", {})
    models = [model["model"] for model in known["models"]]
    judge.expect(
        models == ["atlas.city", "atlas.country", "atlas.stop", "atlas.trip"],
        "describe_models tells ada of the models that she can use",
        models,
    )
    query: Json = {
        "filters": {"country": "PT", "population__gte": 100_000},
        "fields": ["name", "population"],
        "page_size": 2,
    }
    first = await content(peer, "list_cities", query)
    second = await content(
        peer, "list_cities", {**query, "cursor": first["next_cursor"]}
    )
    names = [row["name"] for row in [*first["rows"], *second["rows"]]]
    judge.expect(
        names[:2] == ["Lisbon", "Porto"] and len(set(names)) == 4,
        "list_cities gives the large cities of Portugal by pages",
        names,
    )
    counted = await content(
        peer,
        "aggregate_countries",
        {"measures": ["count", "population__max"], "group_by": ["continent"]},
    )
    groups = {one["group"]["continent"]: one["measures"] for one in counted["groups"]}
    judge.expect(
        len(groups) == 7 and groups["EU"]["count"] > 40,
        "aggregate_countries counts them by continent",
        groups,
    )
    refused = await peer.call("list_cities", {"filters": {"owner": 1}})
    text = refused["content"][0]["text"]
    judge.expect(
        refused.get("isError") and "known are country" in text,
        "a filter that there is none of is refused with those there are",
        text,
    )


async def check_writing(judge: Judge, peer: Peer) -> int:
    values = {"title": "Two rivers", "starts_on": "2031-05-01"}
    made = await content(peer, "create_trip", {"values": values})
    trip: int = made["row"]["pk"]
    found = await content(
        peer, "list_cities", {"search": "Lisbon", "filters": {"country": "PT"}}
    )
    city = found["rows"][0]["pk"]
    stops = [
        {"trip": trip, "position": position, "city": city, "nights": position}
        for position in (1, 2)
    ]
    await content(peer, "bulk_create_stops", {"rows": stops})
    read = (await content(peer, "get_trip", {"pk": trip}))["row"]
    judge.expect(
        read["nights"] == 3
        and [stop["label"] for stop in read["stops"]]
        == ["1. Lisbon, Portugal", "2. Lisbon, Portugal"],
        "ada writes down a trip and its stops, all at once",
        read,
    )
    again = await peer.call("create_stop", {"values": stops[0]})
    judge.expect(again.get("isError"), "no position is taken twice", again)
    version = made["version"]
    change = {"pk": trip, "values": {"title": "Three rivers"}, "version": version}
    changed = await content(peer, "update_trip", change)
    late = await peer.call("update_trip", change)
    judge.expect(
        changed["row"]["title"] == "Three rivers"
        and changed["row"]["nights"] == 3
        and late.get("isError"),
        "a change touches nothing else, and none is made to what one has not seen",
        [changed, late],
    )
    return trip


async def check_watching(judge: Judge, peer: Peer, other: Peer, trip: int) -> None:
    uri = f"django://atlas.trip/{trip}"
    id = await other.ask(
        "subscriptions/listen", {"notifications": {"resourceSubscriptions": [uri]}}
    )
    await other.until(lambda: other.notifications, "acknowledgement")
    stop = {"trip": trip, "position": 3, "city": 2735943, "nights": 1}
    await content(peer, "create_stop", {"values": stop})
    await other.until(lambda: other.told("resources/updated"), "update")
    told = {params["uri"] for params in other.told("resources/updated")}
    read = await read_json(other, uri)
    judge.expect(
        told == {uri} and read["nights"] == 4,
        "who watches the trip is told of its new stop, and reads it",
        [told, read],
    )
    await other.notify("notifications/cancelled", {"requestId": id})


async def check_limits(judge: Judge, stranger: Peer, trip: int) -> None:
    uri = f"django://atlas.trip/{trip}"
    stop = {"trip": trip, "position": 9, "city": 2735943, "nights": 1}
    answers = [
        await stranger.call("get_trip", {"pk": trip}),
        await stranger.call("delete_trip", {"pk": trip}),
        await stranger.call("create_stop", {"values": stop}),
    ]
    texts = [answer["content"][0]["text"] for answer in answers]
    judge.expect(
        all(answer.get("isError") for answer in answers)
        and texts[0] == texts[1] == f"There is no trip {trip}."
        and texts[2] == f"values.trip: there is no trip {trip}.",
        "for grace there is no such trip: to see, to delete or to add to",
        texts,
    )
    error = await stranger.refusal("resources/read", {"uri": uri})
    judge.expect(not_found(stranger, error, uri), "nor to read", error)


async def content(peer: Peer, tool: str, arguments: Json) -> Json:
    result = await peer.call(tool, arguments)
    structured: Json = result["structuredContent"]
    return structured
