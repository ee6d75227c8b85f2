"""
Subscriptions: who watches a trip is told when another connection changes it.

A legacy client subscribes to URIs; a modern one opens listens, each with its filter.
"""

import asyncio

from project.check.era import KEY
from project.check.judge import Judge
from project.check.resources import not_found
from project.check.trips import cancel, exists, plan, uri_of
from project.peer import Json, Peer

__all__ = ["check_listens", "check_subscriptions"]

# Seconds after which everybody has heard of a change; it takes a tenth of that.
SETTLED = 0.5

SUBSCRIPTION = f"{KEY}subscriptionId"
UPDATED = "notifications/resources/updated"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


async def check_subscriptions(judge: Judge, peer: Peer, other: Peer) -> None:
    ids = [await plan(other, f"{title}, seen by {peer.label}") for title in "AB"]
    left, watched = uris = [uri_of(id) for id in ids]
    await asyncio.sleep(SETTLED)
    for uri in uris:
        result = await peer.request("resources/subscribe", {"uri": uri})
        judge.expect(result == {}, f"{uri} is subscribed to", result)
    result = await peer.request("resources/unsubscribe", {"uri": left})
    judge.expect(result == {}, f"{left} no longer", result)
    uri = "atlas://nowhere/1"
    error = await peer.refusal("resources/subscribe", {"uri": uri})
    judge.expect(not_found(peer, error, uri), "what is nowhere cannot be", error)
    for id in ids:
        await cancel(other, id)
    await peer.until(lambda: peer.told("resources/updated"), "update")
    # The change of the other trip was told before, if it was.
    told = {params["uri"] for params in peer.told("resources/updated")}
    judge.expect(
        told == {watched},
        "cancelled on another connection, only the one that is watched is told of",
        told,
    )
    judge.expect(not await exists(peer, ids[1]), "and it reads as not found now")


async def check_listens(judge: Judge, peer: Peer, other: Peer) -> None:
    ids = [await plan(other, f"{title}, seen by {peer.label}") for title in "AB"]
    one, two = uris = [uri_of(id) for id in ids]
    await asyncio.sleep(SETTLED)
    both = await listen(judge, peer, {"resourceSubscriptions": uris}, uris)
    wanted = [two, "atlas://nowhere/1"]
    filter = {"resourceSubscriptions": wanted, "toolsListChanged": False}
    second = await listen(judge, peer, filter, [two])
    await cancel(other, ids[0])
    await peer.until(lambda: heard(peer, both), "update")
    judge.expect(
        uris_of(heard(peer, both)) == {one} and not heard(peer, second),
        "cancelled on another connection, a trip is told of to the listen that has it",
        heard(peer, both),
    )
    await peer.notify("notifications/cancelled", {"requestId": both})
    # Read before the next change, because it is sent before it on one socket.
    judge.expect(not await exists(peer, ids[0]), "the trip reads as not found now")
    await cancel(other, ids[1])
    await peer.until(lambda: heard(peer, second), "update")
    judge.expect(
        uris_of(heard(peer, second)) == {two} and uris_of(heard(peer, both)) == {one},
        "a listen that was cancelled hears nothing more, the other goes on",
        peer.told("resources/updated"),
    )
    judge.expect(
        both not in peer.answers and second not in peer.answers,
        "neither was answered: one was cancelled, one is open",
        peer.answers.get(both),
    )


async def listen(judge: Judge, peer: Peer, filter: Json, honoured: list[str]) -> int:
    """Open a listen and return its id, once it is acknowledged."""
    id = await peer.ask("subscriptions/listen", {"notifications": filter})
    await peer.until(lambda: tagged(peer, id), "acknowledgement")
    first = tagged(peer, id)[0]
    judge.expect(
        first["method"] == ACKNOWLEDGED
        and first["params"]["notifications"] == {"resourceSubscriptions": honoured},
        "a listen is acknowledged first, with what it will hear of",
        first,
    )
    return id


def tagged(peer: Peer, id: int) -> list[Json]:
    """Return the notifications for a listen, in their order."""
    return [
        frame
        for frame in peer.notifications
        if frame["params"].get("_meta", {}).get(SUBSCRIPTION) == id
    ]


def heard(peer: Peer, id: int) -> list[Json]:
    return [frame for frame in tagged(peer, id) if frame["method"] == UPDATED]


def uris_of(frames: list[Json]) -> set[str]:
    return {frame["params"]["uri"] for frame in frames}
