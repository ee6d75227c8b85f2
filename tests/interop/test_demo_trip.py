"""The official client plans a trip in the demo, which another process then changes."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.shared.exceptions import MCPError

from project.check.server import served
from project.demo import HOST
from project.peer import sign_in
from tests.interop.transport import PATIENCE, websocket_client
from tests.redis import Redis

ROOT = Path(__file__).resolve().parents[2]

# Run in a process of its own: it knows nothing of any connection.
CHANGE = """
import sys
import django
django.setup()
from project.atlas.models import Trip
trip = Trip.objects.get(pk=sys.argv[1])
trip.title = "Three rivers"
trip.save()
"""


async def test_trip_is_planned_and_its_change_elsewhere_is_told(
    tmp_path: Path, monkeypatch: Any
) -> None:
    with Redis() as redis:
        monkeypatch.setenv("DEMO_REDIS", redis.url)
        async with served(tmp_path) as port:
            site = f"http://{HOST}:{port}"
            ada, grace = [
                await asyncio.to_thread(sign_in, site, name, name)
                for name in ("ada", "grace")
            ]
            async with client(site, ada) as agent, client(site, grace) as other:
                await plan(agent, other, tmp_path)


def client(site: str, cookie: str) -> Client:
    url = f"{site.replace('http', 'ws')}/ws"
    headers = {"Cookie": cookie}
    return Client(websocket_client(url, additional_headers=headers, origin=site))


async def plan(agent: Client, other: Client, folder: Path) -> None:
    found = await call(agent, "list_cities", search="Lisbon", filters={"country": "PT"})
    made = await call(
        agent, "create_trip", values={"title": "Two rivers", "starts_on": "2031-05-01"}
    )
    trip = made["row"]["pk"]
    stops = [
        {"trip": trip, "position": 1, "city": found["rows"][0]["pk"], "nights": 2},
        {"trip": trip, "position": 2, "city": 2735943, "nights": 1},
    ]
    await call(agent, "bulk_create_stops", rows=stops)
    read = await call(agent, "get_trip", pk=trip)
    refused = await other.call_tool("update_trip", {"pk": trip, "values": {}})
    hidden = None
    try:
        await other.read_resource(made["uri"])
    except MCPError as exc:
        hidden = exc.error.code

    assert [stop["label"] for stop in read["row"]["stops"]] == [
        "1. Lisbon, Portugal",
        "2. Porto, Portugal",
    ]
    assert refused.is_error
    assert refused.content[0].text == f"There is no trip {trip}."
    assert hidden == -32602

    async with agent.listen(resource_subscriptions=[made["uri"]]) as listen:
        await change_elsewhere(trip, folder)
        async with asyncio.timeout(PATIENCE):
            event = await anext(listen)
    again = await agent.read_resource(made["uri"])

    assert event.uri == made["uri"]
    assert json.loads(again.contents[0].text)["title"] == "Three rivers"


async def change_elsewhere(trip: int, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHANGE, str(trip)),
        cwd=ROOT,
        env={
            **os.environ,
            "DEMO_DATABASE": str(folder / "check.sqlite3"),
            "DJANGO_SETTINGS_MODULE": "project.settings",
        },
    )

    assert await process.wait() == 0


async def call(agent: Client, tool: str, **arguments: Any) -> Any:
    result = await agent.call_tool(tool, arguments)

    assert not result.is_error, result.content
    return result.structured_content
