"""Names of places as people type them, made comparable."""

import re
import unicodedata

__all__ = ["fold"]

_APOSTROPHES = re.compile("['`\u2018\u2019\u02bb\u02bc]")
_NOT_WORDS = re.compile(r"[\W_]+")


def fold(name: str) -> str:
    """
    Reduce a name to what matters when two are compared.

    Case, accents, punctuation and the width of spaces go: "Saint-Étienne " and
    "saint etienne" fold to the same text. The result is empty when nothing of the
    name is a letter or a digit.
    """
    if not name.isascii():
        decomposed = unicodedata.normalize("NFKD", name)
        name = "".join(c for c in decomposed if not unicodedata.combining(c))
    # An apostrophe joins ("Nuku'alofa"), anything else parts ("Port-Louis").
    return _NOT_WORDS.sub(" ", _APOSTROPHES.sub("", name).casefold()).strip()
