"""Tools for a client whose connection is cut: what ran, and how often, is kept."""

import asyncio
from uuid import uuid4

from django.contrib.auth.models import User

from mcp_channels import ResourceUpdated, publish, resource, tool

STATE = "ledger://state"

_state = 0


@tool(read_only=True)
async def look(number: int) -> int:
    """Return a number."""
    await asyncio.sleep(0.001)
    return number


@tool(idempotent=True, destructive=False)
async def put(number: int) -> int:
    """Keep a number; doing so twice is as good as once."""
    await asyncio.sleep(0.001)
    return number


@tool(destructive=False)
async def write(number: int) -> int:
    """Write a number down, each time anew."""
    # Half of the time before it, half after it.
    await asyncio.sleep(0.0005)
    await User.objects.acreate(username=f"ledger-{uuid4()}", first_name=str(number))
    await asyncio.sleep(0.0005)
    return number


@resource(STATE, mime_type="text/plain")
async def state() -> str:
    """How often advance was called."""
    return str(_state)


@tool
async def advance() -> int:
    """Change the state, and tell who watches it."""
    global _state
    _state += 1
    publish(ResourceUpdated(STATE))
    return _state
