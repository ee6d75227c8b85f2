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

# What a URI may be long, in characters. Where a value may hold what stands behind it,
# matching takes time by the square of this: at most 0.1 s.
_LONGEST: Final = 4_096


class _Operator(NamedTuple):
    """RFC 6570, appendix A."""

    first: str  # before the first variable
    separator: str
    named: bool  # name=value
    allowed: str  # besides unreserved characters, in what is made
    excluded: str  # from what is matched


_SEGMENT: Final = "/?#&,;"
_PATH: Final = "?#"
# As RFC 6570 has it, but for what would end a path.
_RESERVED: Final = ":/[]@!$&'()*+,;="

_OPERATORS: Final = {
    "": _Operator("", ",", False, "", _SEGMENT),
    "+": _Operator("", ",", False, _RESERVED, _PATH),
    "#": _Operator("#", ",", False, _RESERVED + "?", ""),
    ".": _Operator(".", ".", False, "", "/?#."),
    "/": _Operator("/", "/", False, "", _SEGMENT),
    ";": _Operator(";", ";", True, "", _SEGMENT),
    "?": _Operator("?", "&", True, "", "&#"),
    "&": _Operator("&", "&", True, "", "&#"),
}


class _Variable(NamedTuple):
    name: str
    operator: _Operator
    allowed: str
    excluded: str

    @property
    def pattern(self) -> str:
        characters = f"[^{re.escape(self.excluded)}]*" if self.excluded else ".*"
        return f"(?P<{self.name}>{characters})"

    @property
    def is_query(self) -> bool:
        return self.operator.first in ("?", "&")

    @property
    def is_wide(self) -> bool:
        """Whether it may hold what ends other values."""
        return self.excluded == _PATH

    def encode(self, value: str) -> str:
        text = "".join(
            f"%{ord(character):02X}"
            if character in self.excluded
            else quote(character, safe=self.allowed)
            for character in value
        )
        return f"{self.name}={text}" if self.operator.named else text

    def decode(self, raw: str) -> str | None:
        """Percent-decode a value once; None when it is not to be trusted."""
        # A slash that was hidden from the pattern would change what the value means.
        # In a query it means nothing.
        if not self.is_query and "%2f" in raw.lower():
            return None
        try:
            value = unquote(raw, errors="strict")
        except UnicodeDecodeError:
            return None
        if "\0" in value or "\\" in value or ".." in value.split("/"):
            return None
        return value


class InvalidTemplate(ValueError):
    """The text is no URI template, or one that cannot be matched."""


class URITemplate:
    """
    A URI with variables, such as `shop://orders/{number}`.

    Level 3 of RFC 6570 with one value for each variable, and `*` for a value that may
    hold slashes. Where two values have nothing between them that neither may hold, the
    second does not hold it: `{name}.{ending}` takes `archive.tar.gz` apart at the last
    dot. Raise InvalidTemplate for anything else.
    """

    def __init__(self, template: str) -> None:
        self.template = template
        self._parts: list[str | list[_Variable]] = []
        self._variables: dict[str, _Variable] = {}
        pattern = ""
        end = 0
        for found in _EXPRESSION.finditer(template):
            literal = template[end : found.start()]
            pattern += self._literal(literal)
            self._parts.append(literal)
            end = found.end()
            pattern += self._expression(found.group(1), literal)
        pattern += self._literal(template[end:])
        self._parts.append(template[end:])
        if sum(variable.is_wide for variable in self._variables.values()) > 1:
            raise InvalidTemplate(
                f"{template!r} has more than one variable that may hold slashes."
            )
        self.variables = tuple(self._variables)
        self._matcher = re.compile(pattern, re.DOTALL)

    def match(self, uri: str) -> dict[str, str] | None:
        """
        Return the variables of `uri`, None when it is not of this template.

        A variable of a query that is not there is left out.
        """
        if len(uri) > _LONGEST:
            return None
        found = self._matcher.fullmatch(uri)
        if found is None:
            return None
        values = {}
        for name, raw in found.groupdict().items():
            if raw is None:
                continue
            value = self._variables[name].decode(raw)
            if value is None:
                return None
            values[name] = value
        return values

    def expand(self, values: Mapping[str, str]) -> str:
        """Return the URI with these variables, as match() takes it apart; one that is
        missing is left out."""
        uri = ""
        for part in self._parts:
            if isinstance(part, str):
                uri += part
                continue
            given = [
                variable.encode(values[variable.name])
                for variable in part
                if variable.name in values
            ]
            if given:
                operator = part[0].operator
                uri += operator.first + operator.separator.join(given)
        return uri

    def _literal(self, text: str) -> str:
        if "{" in text or "}" in text:
            raise InvalidTemplate(f"{self.template!r} has a brace without its other.")
        return re.escape(text)

    def _expression(self, text: str, literal: str) -> str:
        """Take an expression in, which stands behind `literal`; return its pattern."""
        sign = text[:1] if text[:1] in _OPERATORS else ""
        operator = _OPERATORS[sign]
        variables: list[_Variable] = []
        self._parts.append(variables)
        between = literal + operator.first
        for part in text[len(sign) :].split(","):
            found = _VARIABLE.fullmatch(part)
            if found is None:
                raise InvalidTemplate(
                    f"{self.template!r}: {{{text}}} is no expression. Use names of "
                    f"letters, digits and '_', and one of + # . / ; ? & before them."
                )
            name, star = found.groups()
            if name in self._variables:
                raise InvalidTemplate(f"{self.template!r} names a variable twice.")
            if operator.named:
                between += f"{name}="
            allowed, excluded = operator.allowed, operator.excluded
            boundary = self._boundary(between, excluded)
            if star and sign in ("", "/", "."):
                allowed, excluded = "/", _PATH
            elif sign != "+":
                excluded += boundary
            variable = _Variable(name, operator, allowed, excluded)
            variables.append(variable)
            self._variables[name] = variable
            between = operator.separator
        return self._pattern(operator, variables)

    def _boundary(self, between: str, excluded: str) -> str:
        """Return what a value behind `between` must do without besides `excluded`, so
        that it is certain where it begins. Raise InvalidTemplate when it never is."""
        if not self._variables:
            return ""
        *_, previous = self._variables.values()
        ends = _PATH if previous.is_wide else previous.operator.excluded
        if not set(between).isdisjoint(ends + excluded):
            return ""
        for character in reversed(between):
            # Those are needed for percent-encoding.
            if character not in "0123456789ABCDEFabcdef%":
                return character
        raise InvalidTemplate(
            f"{self.template!r}: nothing tells where {previous.name!r} ends. Put a "
            f"character such as '/' behind it."
        )

    def _pattern(self, operator: _Operator, variables: list[_Variable]) -> str:
        first = re.escape(operator.first)
        if variables[0].is_query:
            # The parts of a query may come in any order, and any may be missing.
            looks = "".join(
                rf"(?:(?={first}(?:[^#]*&)?{variable.name}={variable.pattern}))?"
                for variable in variables
            )
            known = "|".join(variable.name for variable in variables)
            one = rf"(?:{known})=[^&#]*"
            return rf"(?:{looks}{first}{one}(?:&{one})*)?"
        patterns = [
            f"{variable.name}={variable.pattern}"
            if operator.named
            else variable.pattern
            for variable in variables
        ]
        return first + re.escape(operator.separator).join(patterns)
