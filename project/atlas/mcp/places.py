"""What an agent calls a place, and which one it means."""

from collections.abc import Iterable
from typing import Annotated

from channels.db import database_sync_to_async
from msgspec import Meta

from mcp_channels import ToolError
from project.atlas import gazetteer
from project.atlas.models import City, Country

__all__ = [
    "CityReference",
    "CountryReference",
    "get_cities",
    "get_city",
    "get_country",
]

CityReference = (
    Annotated[int, Meta(ge=1)] | Annotated[str, Meta(min_length=1, max_length=100)]
)
CountryReference = Annotated[str, Meta(min_length=2, max_length=100)]


def get_city(reference: int | str) -> City:
    """Get the city meant. Raise ToolError when there is none or more than one."""
    try:
        return gazetteer.get_city(reference)
    except gazetteer.PlaceNotFound as exc:
        raise ToolError(str(exc)) from None


def get_country(reference: str) -> Country:
    """Get the country meant. Raise ToolError when there is none."""
    try:
        return gazetteer.get_country(reference)
    except gazetteer.PlaceNotFound as exc:
        raise ToolError(str(exc)) from None


async def get_cities(references: Iterable[int | str]) -> list[City]:
    """Get the cities meant, in order, in one hop to a thread; for async tools."""

    def get() -> list[City]:
        return [get_city(reference) for reference in references]

    cities: list[City] = await database_sync_to_async(get)()
    return cities
