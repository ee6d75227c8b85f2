"""
Distances and directions on the globe.

Latitudes and longitudes are in degrees, north and east positive, distances in
kilometres on a sphere; against the true ellipsoid they are off by up to 0.5 %.
"""

import math
from dataclasses import dataclass

__all__ = ["EARTH_RADIUS", "Area", "bearing", "compass_point", "distance"]

EARTH_RADIUS = 6371.0088  # km, the mean radius of the IUGG
DEGREE = EARTH_RADIUS * math.pi / 180  # km along a meridian

COMPASS = (
    *("N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE"),
    *("S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW"),
)

Coordinates = tuple[float, float]  # latitude, longitude


def distance(origin: Coordinates, destination: Coordinates) -> float:
    """Measure the great circle between two points, in kilometres."""
    latitude, longitude = map(math.radians, origin)
    other_latitude, other_longitude = map(math.radians, destination)
    # The haversine, which keeps its digits when the points are close together.
    chord = (
        math.sin((other_latitude - latitude) / 2) ** 2
        + math.cos(latitude)
        * math.cos(other_latitude)
        * math.sin((other_longitude - longitude) / 2) ** 2
    )
    return 2 * EARTH_RADIUS * math.asin(min(1.0, math.sqrt(chord)))


def bearing(origin: Coordinates, destination: Coordinates) -> float:
    """
    Find the direction in which the great circle leaves the origin.

    In degrees from north over east, at least 0 and below 360.
    """
    latitude, longitude = map(math.radians, origin)
    other_latitude, other_longitude = map(math.radians, destination)
    east = math.sin(other_longitude - longitude) * math.cos(other_latitude)
    north = math.cos(latitude) * math.sin(other_latitude) - math.sin(
        latitude
    ) * math.cos(other_latitude) * math.cos(other_longitude - longitude)
    # The modulo of a tiny negative angle rounds to 360 itself.
    return math.degrees(math.atan2(east, north)) % 360 % 360


def compass_point(degrees: float) -> str:
    """Name the nearest of the sixteen points of the compass: 'N', 'NNE', ..."""
    return COMPASS[round(degrees / 22.5) % 16]


@dataclass(frozen=True, slots=True)
class Area:
    """
    A span of latitudes and one or two spans of longitudes, ends included.

    Two, when the area lies across the date line.
    """

    south: float
    north: float
    longitudes: tuple[tuple[float, float], ...]  # each as west, east

    @classmethod
    def around(cls, centre: Coordinates, radius: float) -> "Area":
        """
        Enclose all points within a radius in kilometres.

        The area is somewhat larger than the circle: measure what it contains.
        """
        latitude, longitude = centre
        reach = radius / DEGREE
        south, north = latitude - reach, latitude + reach
        if south <= -90 or north >= 90:
            # A pole is inside, and with it every meridian.
            return cls(max(south, -90.0), min(north, 90.0), ((-180.0, 180.0),))
        # The circle is widest where its tangent runs along a meridian, which is
        # poleward of its centre.
        width = math.degrees(
            math.asin(
                min(
                    1.0,
                    math.sin(math.radians(reach)) / math.cos(math.radians(latitude)),
                )
            )
        )
        west, east = longitude - width, longitude + width
        if west < -180:
            return cls(south, north, ((west + 360, 180.0), (-180.0, east)))
        if east > 180:
            return cls(south, north, ((west, 180.0), (-180.0, east - 360)))
        return cls(south, north, ((west, east),))
