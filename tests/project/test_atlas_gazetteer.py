import pytest

from project.atlas.gazetteer import (
    PlaceNotFound,
    find_cities,
    get_city,
    get_country,
    similar_cities,
)

pytestmark = pytest.mark.usefixtures("atlas")


@pytest.mark.parametrize(
    ("reference", "geonameid"),
    [
        (2267057, 2267057),
        (" 2267057 ", 2267057),
        ("Lisbon", 2267057),
        ("LISBOA", 2267057),
        ("Lisbon, Portugal", 2267057),
        ("Lisbon, pt", 2267057),
        ("Lisboa, PRT", 2267057),
        ("London, UK", 2643743),
        ("Springfield, IL", 4250542),
        ("Springfield, MO, United States", 4409896),
        ("Paris, Texas, US", None),
        ("Paris, TX", 4717560),
        # By far the larger of two.
        ("Paris", 2988507),
        # The smaller, but the one whose own name it is: Bordeaux was called so.
        ("Porto", 2735943),
    ],
)
def test_city_is_the_one_that_is_meant(reference, geonameid):
    if geonameid is None:
        with pytest.raises(PlaceNotFound):
            get_city(reference)
    else:
        assert get_city(reference).pk == geonameid


def test_ambiguous_name_is_refused_with_the_candidates():
    with pytest.raises(PlaceNotFound) as caught:
        get_city("Springfield")

    text = str(caught.value)
    assert text.startswith("4 cities are called 'Springfield': Springfield, MO,")
    assert "Springfield, IL, United States (id 4250542, 114,394 people)" in text
    assert text.endswith("Pass the id of the one you mean.")


def test_many_candidates_are_not_all_listed(monkeypatch):
    monkeypatch.setattr("project.atlas.gazetteer.CANDIDATES", 2)

    with pytest.raises(PlaceNotFound, match=r"people\), Spring[^)]*\) and 2 more\."):
        get_city("Springfield")


def test_misspelled_city_is_refused_with_a_suggestion():
    with pytest.raises(PlaceNotFound, match=r"mean Lisbon, Portugal \(id 2267057"):
        get_city("Lisbonn")


def test_city_in_the_wrong_country_is_refused_with_the_right_one():
    with pytest.raises(PlaceNotFound) as caught:
        get_city("Lisbon, Spain")

    assert "No city called 'Lisbon' is in 'Spain'" in str(caught.value)
    assert "There is Lisbon, Portugal (id 2267057" in str(caught.value)


@pytest.mark.parametrize("reference", ["Atlantis", "", " , ", "%", "\x00", "x" * 100])
def test_unknown_city_is_refused(reference):
    with pytest.raises(PlaceNotFound, match="No city is called"):
        get_city(reference)


@pytest.mark.parametrize("reference", [1, 10**30, "0", "9" * 100])
def test_unknown_id_is_refused(reference):
    with pytest.raises(PlaceNotFound, match="No city has the id"):
        get_city(reference)


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("PT", "PT"),
        ("pt", "PT"),
        ("PRT", "PT"),
        (" Portugal ", "PT"),
        ("UK", "GB"),
        ("cote d'ivoire", None),
        ("Ivory Coast", "CI"),
        ("Curaçao", "CW"),
    ],
)
def test_country_is_known_by_codes_and_name(reference, code):
    if code is None:
        with pytest.raises(PlaceNotFound):
            get_country(reference)
    else:
        assert get_country(reference).code == code


def test_misspelled_country_is_refused_with_a_suggestion():
    with pytest.raises(PlaceNotFound, match="Did you mean Portugal"):
        get_country("Portugl")


def test_unknown_country_is_refused():
    with pytest.raises(PlaceNotFound, match="ISO code, such as 'Portugal' or 'PT'"):
        get_country("Qwxyz")


def test_found_cities_begin_with_the_exact_ones():
    cities, total = find_cities("Spring", limit=10)
    assert (len(cities), total) == (4, 4)

    exact, _ = find_cities("Porto", limit=1)
    assert exact[0].name == "Porto"


def test_found_cities_are_limited_and_counted():
    cities, total = find_cities("Springfield", limit=3)

    assert [city.name for city in cities] == ["Springfield"] * 3
    assert total == 4


def test_found_cities_are_of_the_country():
    cities, total = find_cities("Paris", get_country("US"), limit=10)

    assert ([city.pk for city in cities], total) == ([4717560], 1)


def test_finding_takes_few_queries(django_assert_max_num_queries):
    with django_assert_max_num_queries(3):
        cities, _ = find_cities("Spring", limit=10)
        assert all(city.country.name for city in cities)


def test_similar_cities_are_spelled_almost_so():
    assert [city.name for city in similar_cities("Lisbonn")] == ["Lisbon"]
    assert similar_cities("Lix") == []
    assert similar_cities("?") == []
