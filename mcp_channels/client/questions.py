"""What a server wants to know, asked at the terminal."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from mcp.client import ClientRequestContext
from mcp_types import ElicitRequestParams, ElicitRequestURLParams, ElicitResult

from mcp_channels.client.terminal import harmless
from mcp_channels.client.threads import run_in_daemon

__all__ = ["ask"]

_MISSING: Final = object()


class _Cancelled(Exception):
    """The person wants none of it."""


async def ask(
    context: ClientRequestContext, params: ElicitRequestParams
) -> ElicitResult:
    """Put a question of the server to the person at the terminal."""
    if not sys.stdin.isatty():
        _say("The server asks something, but there is no terminal to answer it.")
        return ElicitResult(action="cancel")
    _say(f"The server asks: {harmless(params.message)}")
    try:
        if isinstance(params, ElicitRequestURLParams):
            _say(f"Open this page yourself: {harmless(params.url)}")
            return await _confirm("Is it done?")
        schema = params.requested_schema
        properties = {
            name: property
            for name, property in schema.get("properties", {}).items()
            if isinstance(property, dict)
        }
        if not properties:
            return await _confirm("Do you accept?")
        _say("Ctrl-D cancels; an empty line leaves out what is optional.")
        content = {}
        for name, property in properties.items():
            is_required = name in schema.get("required", ())
            value = await _ask_for(name, property, is_required)
            if value is not _MISSING:
                content[name] = value
        return ElicitResult(action="accept", content=content)
    except _Cancelled:
        return ElicitResult(action="cancel")


async def _confirm(question: str) -> ElicitResult:
    answer = await _read_line(f"{question} [y/N] ")
    is_yes = answer.lower() in ("y", "yes")
    return ElicitResult(
        action="accept" if is_yes else "decline", content={} if is_yes else None
    )


async def _ask_for(name: str, property: Mapping[str, Any], is_required: bool) -> Any:
    """Ask for a value until it is right; _MISSING when it is left out."""
    choices = _find_choices(property)
    default = property.get("default", _MISSING)
    words = [str(property.get("title", name))]
    if "description" in property:
        words.append(f"({property['description']})")
    if choices:
        words.append(f"[{' '.join(choices)}]")
    elif property.get("type") == "boolean":
        words.append("[y n]")
    if default is not _MISSING:
        words.append(f"(default: {default})")
    elif not is_required:
        words.append("(optional)")
    prompt = f"{harmless(' '.join(words))}: "
    while True:
        answer = await _read_line(prompt)
        if not answer and (default is not _MISSING or not is_required):
            return default
        try:
            return _read_value(answer, property, choices)
        except ValueError as exc:
            _say(str(exc))


def _find_choices(property: Mapping[str, Any]) -> list[str]:
    """Return what may be answered; nothing when that is free."""
    source = property.get("items", property)
    titled = source.get("oneOf", source.get("anyOf", ()))
    return [str(one) for one in source.get("enum", ())] + [
        str(one.get("const")) for one in titled
    ]


def _read_value(answer: str, property: Mapping[str, Any], choices: list[str]) -> Any:
    """Return what an answer means. Raise ValueError, with what to write instead."""
    match property.get("type"):
        case "boolean":
            if answer.lower() not in ("y", "yes", "n", "no"):
                raise ValueError("Write y or n.")
            return answer.lower() in ("y", "yes")
        case "integer":
            return _read_number(answer, int, "a whole number")
        case "number":
            return _read_number(answer, float, "a number")
        case "array":
            words = answer.split()
            for word in words:
                _check_choice(word, choices)
            return words
    _check_choice(answer, choices)
    return answer


def _read_number(answer: str, read: Callable[[str], Any], kind: str) -> Any:
    try:
        return read(answer)
    except ValueError:
        raise ValueError(f"Write {kind}.") from None


def _check_choice(answer: str, choices: list[str]) -> None:
    if choices and answer not in choices:
        raise ValueError(f"Write one of {' '.join(choices)}.")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


async def _read_line(prompt: str) -> str:
    """Read a line of the terminal. Raise _Cancelled at its end."""
    print(prompt, end="", file=sys.stderr, flush=True)
    # A terminal gives one line at a time. Not by input(), whose thread would hold
    # sys.stdin when the program ends.
    data = await run_in_daemon(os.read, sys.stdin.fileno(), 65_536)
    if not data:
        raise _Cancelled
    return data.decode(errors="replace").strip()
