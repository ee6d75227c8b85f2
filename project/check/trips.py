"""Trips: planned, seen, read, and hidden from everybody else."""

from project.check.era import LOGGED
from project.check.judge import Judge
from project.check.resources import not_found, read_json
from project.check.talk import Talk
from project.peer import CheckFailed, Json, Peer, shorten

__all__ = ["cancel", "check_trips", "exists", "plan", "uri_of"]


async def check_trips(judge: Judge, peer: Peer, stranger: Peer) -> None:
    trips = await trips_of(peer)
    titles = [trip["title"] for trip in trips]
    judge.expect(
        titles == ["Iberian rivers", "Northern light"], "ada sees her trips", titles
    )
    call = {
        "title": "A weekend away",
        "starts_on": trips[0]["starts_on"],
        "stops": [{"city": "Porto", "nights": 2}, {"city": "Lisbon", "nights": 1}],
    }
    result = await peer.call("plan_trip", call, LOGGED)
    trip: Json = result["structuredContent"]
    judge.expect(trip["nights"] == 3, "ada plans a trip", trip)
    logged = [entry["logger"] for entry in peer.logged()]
    judge.expect(
        logged == ["project.atlas.mcp.trips"],
        "what Python's logging said of it came to her, since she asked for it",
        logged,
    )
    again = await peer.call("plan_trip", call)
    judge.expect(again.get("isError"), "the same trip is not planned twice", again)
    titles = [trip["title"] for trip in await trips_of(peer)]
    judge.expect("A weekend away" in titles, "the trip is there", titles)
    uri = uri_of(trip["id"])
    read = await read_json(peer, uri)
    judge.expect(read == trip, "it is a resource as well", read)
    with peer.quiet():
        pages = await peer.pages("resources/list", "resources")
    listed = {entry["uri"] for page in pages for entry in page}
    judge.expect(
        {uri, uri_of(trips[0]["id"])} <= listed, "her trips are in the list", listed
    )
    foreign = uri_of((await trips_of(stranger))[0]["id"])
    judge.expect(foreign not in listed, "grace's trips are not", listed)
    error = await peer.refusal("resources/read", {"uri": foreign})
    judge.expect(
        not_found(peer, error, foreign), "ada finds no trip where grace has hers", error
    )


async def trips_of(peer: Peer) -> list[Json]:
    result = await peer.call("my_trips", {})
    trips: list[Json] = result["structuredContent"]["trips"]
    return trips


async def plan(peer: Peer, title: str) -> int:
    """Plan a trip and return its id."""
    starts_on = (await trips_of(peer))[0]["starts_on"]
    stops = [{"city": "Braga", "nights": 1}]
    result = await peer.call(
        "plan_trip", {"title": title, "starts_on": starts_on, "stops": stops}
    )
    id: int = result["structuredContent"]["id"]
    return id


async def cancel(peer: Peer, id: int) -> None:
    """Cancel a trip, answering what is asked. Raise CheckFailed when that fails."""
    talk = Talk(peer, "cancel_trip", {"trip": id})
    await talk.begin()
    await talk.fill_in(reason="other plans")
    await talk.fill_in(word="CANCEL")
    if "structuredContent" not in talk.result:
        raise CheckFailed(f"Trip {id} was not cancelled: {shorten(talk.result)}")


async def exists(peer: Peer, id: int) -> bool:
    return not await peer.refusal("resources/read", {"uri": uri_of(id)})


def uri_of(id: int) -> str:
    return f"atlas://trips/{id}"
