"""
URI templates: RFC 6570, to match a URI as well as to make one.

A variable never takes in more than its operator allows, is percent-decoded once, and is
refused when it could lead somewhere else: `..`, an encoded slash, NUL.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

__all__ = ["InvalidTemplate", "URITemplate"]

_EXPRESSION: Final = re.compile(r"\{([^{}]*)\}")
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\*?)")

_RESERVED: Final = ":/?#[]@!$&'()*+,;="


class _Operator(NamedTuple):
    """RFC 6570, appendix A."""

    first: str  # before the first variable
    separator: str
    named: bool  # name=value
    allowed: str  # besides unreserved characters
    pattern: str  # of a value


# A value of one segment; one that may hold slashes; and one of a query.
_SEGMENT: Final = r"[^/?#&,;]*"
_PATH: Final = r"[^?#]*"
_QUERY: Final = r"[^&#]*"

_OPERATORS: Final = {
    "": _Operator("", ",", False, "", _SEGMENT),
    "+": _Operator("", ",", False, _RESERVED, _PATH),
    "#": _Operator("#", ",", False, _RESERVED, r".*"),
    ".": _Operator(".", ".", False, "", r"[^/?#.]*"),
    "/": _Operator("/", "/", False, "", _SEGMENT),
    ";": _Operator(";", ";", True, "", _SEGMENT),
    "?": _Operator("?", "&", True, "", _QUERY),
    "&": _Operator("&", "&", True, "", _QUERY),
}


class InvalidTemplate(ValueError):
    """The text is no URI template, or one that cannot be matched."""


class URITemplate:
    """
    A URI with variables, such as `shop://orders/{number}`.

    Level 3 of RFC 6570 with one value for each variable, and `*` for values that may
    hold slashes. Raise InvalidTemplate for anything else.
    """

    def __init__(self, template: str) -> None:
        self.template = template
        self._parts: list[str | tuple[_Operator, tuple[str, ...]]] = []
        names: list[str] = []
        pattern = ""
        end = 0
        for found in _EXPRESSION.finditer(template):
            literal = template[end : found.start()]
            pattern += self._literal(literal)
            end = found.end()
            operator, variables = self._expression(found.group(1))
            self._parts += [literal, (operator, tuple(n for n, _ in variables))]
            names += [name for name, _ in variables]
            pattern += self._pattern(operator, variables)
        pattern += self._literal(template[end:])
        self._parts.append(template[end:])
        if len(set(names)) != len(names):
            raise InvalidTemplate(f"{template!r} names a variable twice.")
        self.variables = tuple(names)
        self._matcher = re.compile(pattern, re.DOTALL)

    def match(self, uri: str) -> dict[str, str] | None:
        """
        Return the variables of `uri`, None when it is not of this template.

        A variable of a query that is not there is left out.
        """
        found = self._matcher.fullmatch(uri)
        if found is None:
            return None
        values = {}
        for name, raw in found.groupdict().items():
            if raw is None:
                continue
            value = _decode(raw)
            if value is None:
                return None
            values[name] = value
        return values

    def expand(self, values: Mapping[str, str]) -> str:
        """Return the URI with these variables; one that is missing is left out."""
        uri = ""
        for part in self._parts:
            if isinstance(part, str):
                uri += part
                continue
            operator, names = part
            given = [
                f"{name}={self._encode(operator, values[name])}"
                if operator.named
                else self._encode(operator, values[name])
                for name in names
                if name in values
            ]
            if given:
                uri += operator.first + operator.separator.join(given)
        return uri

    def _literal(self, text: str) -> str:
        if "{" in text or "}" in text:
            raise InvalidTemplate(f"{self.template!r} has a brace without its other.")
        return re.escape(text)

    def _expression(self, text: str) -> tuple[_Operator, list[tuple[str, bool]]]:
        sign = text[:1] if text[:1] in _OPERATORS else ""
        variables = []
        for name in text[len(sign) :].split(","):
            found = _VARIABLE.fullmatch(name)
            if found is None:
                raise InvalidTemplate(
                    f"{self.template!r}: {{{text}}} is no expression. Use names of "
                    f"letters, digits and '_', and one of + # . / ; ? & before them."
                )
            variables.append((found.group(1), bool(found.group(2))))
        return _OPERATORS[sign], variables

    def _pattern(self, operator: _Operator, variables: list[tuple[str, bool]]) -> str:
        if operator.named and operator.first != ";":
            # The parts of a query may come in any order, and any may be missing.
            looks = "".join(
                rf"(?:(?=[^#]*[?&]{name}=(?P<{name}>{_QUERY})))?"
                for name, _ in variables
            )
            known = "|".join(name for name, _ in variables)
            one = rf"(?:{known})={_QUERY}"
            first = re.escape(operator.first)
            return rf"{looks}(?:{first}{one}(?:&{one})*)?"
        patterns = []
        for name, is_path in variables:
            value = _PATH if is_path else operator.pattern
            group = rf"(?P<{name}>{value})"
            patterns.append(rf"{name}={group}" if operator.named else group)
        separator = re.escape(operator.separator)
        return re.escape(operator.first) + separator.join(patterns)

    def _encode(self, operator: _Operator, value: str) -> str:
        return quote(value, safe=operator.allowed)


def _decode(raw: str) -> str | None:
    """Percent-decode a value once; None when it is not to be trusted."""
    lower = raw.lower()
    # A slash that was hidden from the pattern would change what the value means.
    if "%2f" in lower or "%5c" in lower:
        return None
    try:
        value = unquote(raw, errors="strict")
    except UnicodeDecodeError:
        return None
    if "\0" in value or "\\" in value or ".." in value.split("/"):
        return None
    return value
