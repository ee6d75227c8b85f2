import math
import random

import pytest

from project.atlas.geography import (
    EARTH_RADIUS,
    Area,
    bearing,
    compass_point,
    distance,
)

LISBON, PORTO = (38.72509, -9.1498), (41.1485, -8.61097)
LONDON, NEW_YORK = (51.50853, -0.12574), (40.71427, -74.00597)
SYDNEY, AUCKLAND = (-33.86785, 151.20732), (-36.84853, 174.76349)


@pytest.mark.parametrize(
    ("origin", "destination", "kilometres"),
    [
        (LISBON, PORTO, 274),
        (LONDON, NEW_YORK, 5570),
        (SYDNEY, AUCKLAND, 2156),
        ((0, 179.5), (0, -179.5), 111.2),
        ((90, 0), (-90, 0), EARTH_RADIUS * math.pi),
        ((10, 20), (-10, -160), EARTH_RADIUS * math.pi),
    ],
)
def test_distance_is_the_great_circle(origin, destination, kilometres):
    assert distance(origin, destination) == pytest.approx(kilometres, rel=0.003)
    assert distance(destination, origin) == pytest.approx(distance(origin, destination))


def test_distance_to_itself_is_nothing():
    assert distance(LISBON, LISBON) == 0


@pytest.mark.parametrize(
    ("origin", "destination", "degrees"),
    [
        ((0, 0), (10, 0), 0),
        ((0, 0), (0, 10), 90),
        ((0, 0), (-10, 0), 180),
        ((0, 0), (0, -10), 270),
        ((0, 179), (0, -179), 90),
        (LONDON, NEW_YORK, 288.3),
    ],
)
def test_bearing_is_where_the_great_circle_leaves(origin, destination, degrees):
    assert bearing(origin, destination) == pytest.approx(degrees, abs=0.1)


def test_bearing_is_always_below_360():
    assert bearing((0, 0), (10, -1e-17)) < 360


@pytest.mark.parametrize(
    ("degrees", "point"),
    [(0, "N"), (11.2, "N"), (11.3, "NNE"), (90, "E"), (225, "SW"), (359, "N")],
)
def test_compass_point_is_the_nearest_of_sixteen(degrees, point):
    assert compass_point(degrees) == point


def is_inside(area, point):
    latitude, longitude = point
    return area.south <= latitude <= area.north and any(
        west <= longitude <= east for west, east in area.longitudes
    )


@pytest.mark.parametrize(
    "centre", [LISBON, (0, 0), (65, 30), (-84, 12), (10, 179.9), (10, -179.9), (89, 5)]
)
def test_area_contains_all_that_is_within_the_radius(centre):
    area = Area.around(centre, 500)
    chance = random.Random(7)
    points = [
        (
            max(-90.0, min(90.0, centre[0] + chance.uniform(-5, 5))),
            chance.uniform(-180, 180),
        )
        for _ in range(20_000)
    ]
    within = [point for point in points if distance(centre, point) <= 500]

    assert within
    assert all(is_inside(area, point) for point in within)


def test_area_across_the_date_line_has_two_spans():
    area = Area.around((-18, 179.9), 100)

    assert is_inside(area, (-18, -179.5))
    assert is_inside(area, (-18, 179.5))
    assert not is_inside(area, (-18, 0))


def test_area_with_a_pole_has_all_longitudes():
    area = Area.around((89.9, 0), 100)

    assert area.north == 90
    assert area.longitudes == ((-180, 180),)


def test_area_is_not_the_world():
    area = Area.around(LISBON, 100)

    assert not is_inside(area, PORTO)
    assert not is_inside(area, (38.7, -12))
