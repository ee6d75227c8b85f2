"""Resources: listed with their templates, read as text and as bytes, completed."""

import base64
import json

from project.check.judge import Judge
from project.peer import Json, Peer

__all__ = ["check_resources", "not_found", "read_json"]

TEMPLATES = [
    "atlas://countries/{code}",
    "atlas://countries/{code}/map.png",
    "atlas://trips/{id}",
    "django://atlas.city/{pk}",
    "django://atlas.country/{pk}",
]


async def check_resources(judge: Judge, peer: Peer) -> None:
    await check_lists(judge, peer)
    await check_contents(judge, peer)
    await check_missing(judge, peer)
    await check_completion(judge, peer)


async def check_lists(judge: Judge, peer: Peer) -> None:
    with peer.quiet():
        pages = await peer.pages("resources/list", "resources")
    uris = [entry["uri"] for page in pages for entry in page]
    judge.expect(
        uris == sorted(set(uris)) and all(len(page) == 4 for page in pages[:-1]),
        f"{len(pages)} pages list {len(uris)} resources in order, each once",
        uris,
    )
    judge.expect(
        {"atlas://countries", "atlas://countries/PT"} <= set(uris)
        and not any(uri.startswith("atlas://trips") for uri in uris),
        "they are the countries, and nobody's trips",
        uris,
    )
    pages = await peer.pages("resources/templates/list", "resourceTemplates")
    templates = [entry["uriTemplate"] for page in pages for entry in page]
    judge.expect(templates == TEMPLATES, "the templates are listed", templates)


async def check_contents(judge: Judge, peer: Peer) -> None:
    result = await peer.request("resources/read", {"uri": "atlas://countries"})
    hints = result.get("ttlMs"), result.get("cacheScope")
    judge.expect(
        hints == ((3_600_000, "public") if peer.is_modern else (None, None)),
        "the list of all countries says how long it keeps, where the era has words",
        hints,
    )
    countries = json.loads(result["contents"][0]["text"])
    links = {country["code"]: country["uri"] for country in countries}
    judge.expect(
        len(links) > 240 and links["PT"] == "atlas://countries/PT",
        f"it is JSON with {len(links)} countries, each with its URI",
        countries[:3],
    )
    portugal = await read_json(peer, links["PT"])
    called = await peer.call("country_profile", {"country": "Portugal"})
    judge.expect(
        portugal == called["structuredContent"],
        "a country reads as the tool describes it",
        portugal,
    )
    uri = "atlas://countries/FJ/map.png"
    result = await peer.request("resources/read", {"uri": uri})
    (contents,) = result["contents"]
    image = base64.b64decode(contents["blob"], validate=True)
    judge.expect(
        image.startswith(b"\x89PNG\r\n\x1a\n")
        and contents["mimeType"] == "image/png"
        and contents["uri"] == uri
        and "text" not in contents,
        f"the map of Fiji is a PNG of {len(image)} bytes",
        contents,
    )


async def check_missing(judge: Judge, peer: Peer) -> None:
    for uri in (
        "atlas://countries/ZZ",
        "atlas://countries/AQ/map.png",
        "atlas://countries/..%2FPT",
        "atlas://trips/1",
        "atlas://trips/first",
        "file:///etc/passwd",
    ):
        error = await peer.refusal("resources/read", {"uri": uri})
        judge.expect(not_found(peer, error, uri), f"{uri} is not found", error)
    error = await peer.refusal("resources/list", {"cursor": "made up"})
    judge.expect(error.get("code") == -32602, "a made up cursor is refused", error)


async def check_completion(judge: Judge, peer: Peer) -> None:
    ref = {"type": "ref/resource", "uri": "atlas://countries/{code}"}
    result = await peer.request(
        "completion/complete", {"ref": ref, "argument": {"name": "code", "value": "p"}}
    )
    completion = result["completion"]
    judge.expect(
        "PT" in completion["values"]
        and all(value.startswith("P") for value in completion["values"])
        and completion["total"] == len(completion["values"])
        and not completion.get("hasMore"),
        "the code of a country is completed",
        completion,
    )


async def read_json(peer: Peer, uri: str) -> Json:
    result = await peer.request("resources/read", {"uri": uri})
    value: Json = json.loads(result["contents"][0]["text"])
    return value


def not_found(peer: Peer, error: Json, uri: str) -> bool:
    """Return whether this is how the era of a client says that nothing is there."""
    code = -32602 if peer.is_modern else -32002
    return error.get("code") == code and error.get("data") == {"uri": uri}
