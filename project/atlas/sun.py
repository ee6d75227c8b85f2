"""
Where the sun is, and when it rises and sets.

The low-precision formulas of Jean Meeus, Astronomical Algorithms, chapter 25. Below
the polar circles and from 1950 to 2100 the times agree with almanacs to a minute or
two; nearer to the poles, where the sun skims the horizon, expect several minutes.
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

__all__ = ["Daylight", "Position", "daylight", "position"]

J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)

# The height of the sun's centre when its upper edge seems to touch the horizon: half
# its width (16') and what the air bends (34') below, in degrees.
HORIZON = -0.833


@dataclass(frozen=True, slots=True)
class Position:
    """Where the sun stands at some moment, seen from the Earth's centre."""

    declination: float  # degrees, north is positive
    equation_of_time: float  # minutes that a sundial is ahead of the clock


@dataclass(frozen=True, slots=True)
class Daylight:
    """
    The sun's day at one place.

    All moments are in the place's time zone. `sunrise` and `sunset` are None when the
    sun does not cross the horizon; they may fall on the calendar day before or after.
    """

    noon: datetime  # the sun at its highest
    sunrise: datetime | None
    sunset: datetime | None
    length: timedelta  # 0 in the polar night, 24 hours under the midnight sun


def position(moment: datetime) -> Position:
    """Find the sun at an aware moment."""
    century = (moment - J2000) / timedelta(days=36525)
    mean_longitude = 280.46646 + century * (36000.76983 + century * 0.0003032)
    anomaly = math.radians(357.52911 + century * (35999.05029 - 0.0001537 * century))
    centre = (
        math.sin(anomaly) * (1.914602 - century * (0.004817 + 0.000014 * century))
        + math.sin(2 * anomaly) * (0.019993 - 0.000101 * century)
        + math.sin(3 * anomaly) * 0.000289
    )
    node = math.radians(125.04 - 1934.136 * century)
    longitude = math.radians(
        mean_longitude + centre - 0.00569 - 0.00478 * math.sin(node)
    )
    obliquity = math.radians(23.439291 - century * 0.0130042 + 0.00256 * math.cos(node))
    right_ascension = math.degrees(
        math.atan2(math.cos(obliquity) * math.sin(longitude), math.cos(longitude))
    )
    # The nutation in longitude is too small to matter here: a second or so.
    ahead = (mean_longitude - 0.0057183 - right_ascension + 180) % 360 - 180
    return Position(
        declination=math.degrees(math.asin(math.sin(obliquity) * math.sin(longitude))),
        equation_of_time=4 * ahead,  # the Earth turns a degree in four minutes
    )


def daylight(latitude: float, longitude: float, day: date, zone: ZoneInfo) -> Daylight:
    """
    Find sunrise and sunset around the noon of a calendar day.

    The horizon is flat and at sea level: hills and high places are not considered.
    """
    noon = transit(longitude, datetime.combine(day, time(12), zone).astimezone(UTC))
    sunrise = crossing(latitude, longitude, noon, -1)
    sunset = crossing(latitude, longitude, noon, +1)
    if sunrise is None or sunset is None:
        # Only near a pole, where it is always day in the half-year that the sun
        # spends on that side of the equator.
        is_day = latitude * position(noon).declination > 0
        length = timedelta(hours=24 if is_day else 0)
        return Daylight(noon.astimezone(zone), None, None, length)
    return Daylight(
        noon=noon.astimezone(zone),
        sunrise=sunrise.astimezone(zone),
        sunset=sunset.astimezone(zone),
        length=sunset - sunrise,
    )


def transit(longitude: float, near: datetime) -> datetime:
    """Find when the sun crosses the meridian, within twelve hours of a moment."""
    midnight = near.replace(hour=0, minute=0, second=0, microsecond=0)
    noon = midnight + timedelta(
        minutes=720 - 4 * longitude - position(near).equation_of_time
    )
    # The clock may be on the other side of the date line than the meridian.
    return noon + timedelta(days=round((near - noon) / timedelta(days=1)))


def crossing(
    latitude: float, longitude: float, noon: datetime, side: int
) -> datetime | None:
    """
    Find when the sun crosses the horizon, before (-1) or after (+1) a noon.

    None when it stays above or below.
    """
    moment = noon
    # Each round uses the sun's place at the moment the last one found. Three are
    # enough: in an hour the declination moves by a sixtieth of a degree at most.
    for _ in range(3):
        sun = position(moment)
        declination = math.radians(sun.declination)
        cosine = (
            math.sin(math.radians(HORIZON))
            - math.sin(math.radians(latitude)) * math.sin(declination)
        ) / (math.cos(math.radians(latitude)) * math.cos(declination))
        if not -1 <= cosine <= 1:
            return None
        drift = sun.equation_of_time - position(noon).equation_of_time
        minutes = side * 4 * math.degrees(math.acos(cosine)) - drift
        moment = noon + timedelta(minutes=minutes)
    return moment
