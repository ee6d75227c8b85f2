from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from project.atlas.sun import daylight, position

LONDON = (51.50853, -0.12574, "Europe/London")
NEW_YORK = (40.71427, -74.00597, "America/New_York")
SYDNEY = (-33.86785, 151.20732, "Australia/Sydney")
QUITO = (-0.22985, -78.52495, "America/Guayaquil")
REYKJAVIK = (64.13548, -21.89541, "Atlantic/Reykjavik")
TROMSO = (69.6489, 18.95508, "Europe/Oslo")
APIA = (-13.83333, -171.76666, "Pacific/Apia")


def day_at(place, day):
    latitude, longitude, zone = place
    return daylight(latitude, longitude, day, ZoneInfo(zone))


@pytest.mark.parametrize(
    ("place", "day", "sunrise", "sunset"),
    # Local times of published almanacs, to the minute.
    [
        (LONDON, date(2024, 6, 20), "06-20 04:43", "06-20 21:21"),
        (LONDON, date(2024, 12, 21), "12-21 08:04", "12-21 15:53"),
        (NEW_YORK, date(2024, 6, 20), "06-20 05:25", "06-20 20:31"),
        (NEW_YORK, date(2024, 12, 21), "12-21 07:17", "12-21 16:32"),
        (SYDNEY, date(2024, 12, 21), "12-21 05:41", "12-21 20:05"),
        (QUITO, date(2024, 3, 20), "03-20 06:18", "03-20 18:25"),
        # The sun sets after midnight.
        (REYKJAVIK, date(2024, 6, 20), "06-20 02:55", "06-21 00:03"),
        # The clock is a day ahead of the meridian.
        (APIA, date(2024, 3, 20), "03-20 06:31", "03-20 18:38"),
    ],
)
def test_sun_rises_and_sets_as_almanacs_say(place, day, sunrise, sunset):
    light = day_at(place, day)

    for moment, published in ((light.sunrise, sunrise), (light.sunset, sunset)):
        expected = datetime.strptime(f"{day.year}-{published}", "%Y-%m-%d %H:%M")
        assert abs(moment.replace(tzinfo=None) - expected) <= timedelta(minutes=2)


@pytest.mark.parametrize("place", [LONDON, NEW_YORK, SYDNEY, QUITO, REYKJAVIK])
@pytest.mark.parametrize("month", range(1, 13))
def test_noon_lies_between_sunrise_and_sunset(place, month):
    light = day_at(place, date(2025, month, 15))

    assert light.sunrise < light.noon < light.sunset
    assert light.length == light.sunset - light.sunrise
    assert light.noon.date() == date(2025, month, 15)


def test_polar_day_has_no_sunset():
    light = day_at(TROMSO, date(2024, 6, 20))

    assert (light.sunrise, light.sunset) == (None, None)
    assert light.length == timedelta(hours=24)


def test_polar_night_has_no_sunrise():
    light = day_at(TROMSO, date(2024, 12, 21))

    assert (light.sunrise, light.sunset) == (None, None)
    assert light.length == timedelta(0)


@pytest.mark.parametrize("latitude", [-90.0, -89.0, 89.0, 90.0])
@pytest.mark.parametrize("month", [3, 6, 9, 12])
def test_poles_have_some_answer(latitude, month):
    light = daylight(latitude, 0.0, date(2025, month, 21), ZoneInfo("UTC"))

    assert timedelta(0) <= light.length <= timedelta(hours=24)


def test_length_of_the_day_grows_without_a_jump_between_the_seasons():
    days = [date(2025, 1, 1) + timedelta(days=number) for number in range(170)]
    lengths = [day_at(TROMSO, day).length for day in days]

    assert lengths == sorted(lengths)
    assert lengths[0] == timedelta(0)
    assert lengths[-1] == timedelta(hours=24)


@pytest.mark.parametrize(
    ("moment", "declination", "minutes"),
    # Equinox, solstice, and the days when the sundial is farthest from the clock.
    [
        (datetime(2024, 3, 20, 3, 6, tzinfo=UTC), 0, -7.5),
        (datetime(2024, 6, 20, 20, 51, tzinfo=UTC), 23.44, -1.8),
        (datetime(2024, 2, 11, 12, tzinfo=UTC), -14.0, -14.2),
        (datetime(2024, 11, 3, 12, tzinfo=UTC), -15.3, 16.5),
    ],
)
def test_position_is_that_of_the_almanac(moment, declination, minutes):
    sun = position(moment)

    assert sun.declination == pytest.approx(declination, abs=0.1)
    assert sun.equation_of_time == pytest.approx(minutes, abs=0.2)
