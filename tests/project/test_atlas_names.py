import pytest

from project.atlas.names import fold


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Saint-Étienne", "saint etienne"),
        ("  São   Paulo ", "SAO PAULO"),
        ("Nuku‘alofa", "Nuku'alofa"),  # noqa: RUF001
        ("St. John's", "St Johns"),
        ("Straße", "STRASSE"),
        ("Tokyo", "Ｔｏｋｙｏ"),  # noqa: RUF001
    ],
)
def test_spellings_of_a_name_fold_to_the_same(one, other):
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Roma", "Rome"), ("Porto", "Port o"), ("東京", "京都")]
)
def test_different_names_stay_different(one, other):
    assert fold(one) != fold(other)


@pytest.mark.parametrize("name", ["", "  ", "!?", "%_", "\x00"])
def test_nothing_is_left_of_what_has_no_letters(name):
    assert fold(name) == ""


def test_folding_twice_changes_nothing():
    assert fold(fold("Île-de-France’s")) == fold("Île-de-France’s")  # noqa: RUF001
