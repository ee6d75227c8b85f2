import pytest

from mcp_channels import ToolError
from project.atlas.mcp import countries
from project.atlas.models import Country

pytestmark = pytest.mark.usefixtures("atlas")


def test_country_profile_has_neighbours_and_large_cities():
    profile = countries.country_profile("Portugal")

    assert (profile.code, profile.capital) == ("PT", "Lisbon")
    assert [other.name for other in profile.neighbours] == ["Spain"]
    assert [city.name for city in profile.largest_cities] == [
        "Lisbon",
        "Porto",
        "Braga",
    ]
    assert profile.cities_total == 3


@pytest.mark.parametrize(
    ("by", "codes"),
    [
        ("population", ["ES", "PT", "AD", "AQ"]),
        ("area", ["AQ", "ES", "PT", "AD"]),
        ("density", ["AD", "PT", "ES", "AQ"]),
    ],
)
def test_countries_are_ranked(by, codes):
    result = countries.compare_countries(["AQ", "Spain", "PRT", "ad"], by)

    assert [country.code for country in result.ranking] == codes
    assert [country.rank for country in result.ranking] == [1, 2, 3, 4]
    assert result.ranking[0].share_of_first == 1


def test_country_is_not_compared_with_itself():
    with pytest.raises(ToolError, match="all the same country"):
        countries.compare_countries(["PT", "Portugal"])


def test_list_of_countries_leads_to_each():
    (portugal,) = (it for it in countries.countries() if it.code == "PT")

    assert (portugal.capital, portugal.continent) == ("Lisbon", "Europe")
    assert portugal.uri == "atlas://countries/PT"
    assert portugal.uri in {entry.uri for entry in countries.every_country()}


def test_list_of_countries_is_one_query(django_assert_num_queries):
    with django_assert_num_queries(1):
        assert len(countries.countries()) > 240


def test_country_reads_as_its_profile():
    assert countries.country("PT") == countries.country_profile("PT")
    with pytest.raises(Country.DoesNotExist):
        countries.country("pt")


def test_map_is_drawn_where_there_are_cities():
    assert countries.country_map("PT").startswith(b"\x89PNG")
    assert countries.country_map("AQ") is None
    assert countries.country_map("ZZ") is None
