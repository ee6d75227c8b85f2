"""Questions of a server, put to somebody at a real terminal."""

import os
import pty
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mcp_types import ElicitRequestFormParams, ElicitRequestURLParams, ElicitResult

from mcp_channels.client.questions import ask

END = "\x04"  # Ctrl-D at the beginning of a line

Answers = Callable[..., None]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """Type lines at a terminal that is the standard input."""
    keyboard, terminal = pty.openpty()
    with os.fdopen(terminal) as file:
        monkeypatch.setattr(sys, "stdin", file)

        def type_lines(*lines: str) -> None:
            for line in lines:
                os.write(keyboard, (line if line == END else f"{line}\n").encode())

        yield type_lines
    os.close(keyboard)


async def put(schema: dict[str, Any], message: str = "Who are you?") -> ElicitResult:
    context: Any = None
    params = ElicitRequestFormParams(message=message, requested_schema=schema)
    return await ask(context, params)


def one(required: bool = True, **property: Any) -> dict[str, Any]:
    return {"properties": {"it": property}, "required": ["it"] if required else []}


@pytest.mark.parametrize(
    ("property", "typed", "value"),
    [
        ({"type": "string"}, ["ada"], "ada"),
        ({"type": "string"}, ["", "", "ada"], ""),
        ({"type": "integer"}, ["1.5", "x", "7"], 7),
        ({"type": "number"}, ["x", "1.5"], 1.5),
        ({"type": "boolean"}, ["maybe", "Y"], True),
        ({"type": "boolean"}, ["no"], False),
        ({"type": "string", "enum": ["red", "blue"]}, ["green", "red"], "red"),
        (
            {"type": "string", "oneOf": [{"const": "r", "title": "Red"}]},
            ["Red", "r"],
            "r",
        ),
        (
            {"type": "array", "items": {"enum": ["a", "b", "c"]}},
            ["a d", "a c"],
            ["a", "c"],
        ),
        (
            {"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}},
            ["a"],
            ["a"],
        ),
        ({"type": "integer", "default": 3}, [""], 3),
        ({"type": "integer", "default": 3}, ["4"], 4),
    ],
)
async def test_value_is_asked_for_until_it_is_right(answers, property, typed, value):
    answers(*typed)
    result = await put(one(**property))

    assert result.action == "accept"
    assert result.content == {"it": value}


async def test_optional_value_may_be_left_out(answers):
    answers("")

    assert (await put(one(required=False, type="integer"))).content == {}


async def test_question_shows_what_is_wanted(answers, capsys):
    answers("", "red", "y")
    await put(
        {
            "properties": {
                "name": {"type": "string", "title": "Name", "description": "yours"},
                "color": {"type": "string", "enum": ["red", "blue"]},
                "sure": {"type": "boolean", "default": False},
                "odd": "nothing that could be asked",
            },
            "required": ["color"],
        },
        "Who \x1b[2Jare you?",
    )
    shown = capsys.readouterr()

    assert shown.out == ""
    assert shown.err == (
        "The server asks: Who �[2Jare you?\n"
        "Ctrl-D cancels; an empty line leaves out what is optional.\n"
        "Name (yours) (optional): color [red blue]: sure [y n] (default: False): "
    )


async def test_end_of_the_input_cancels(answers):
    answers("ada", END)
    schema = {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    result = await put(schema)

    assert (result.action, result.content) == ("cancel", None)


@pytest.mark.parametrize(
    ("typed", "action"), [("y", "accept"), ("YES", "accept"), ("", "decline")]
)
@pytest.mark.parametrize("schema", [{}, {"properties": {}}])
async def test_nothing_but_consent_may_be_wanted(answers, schema, typed, action):
    answers(typed)

    assert (await put(schema)).action == action


@pytest.mark.parametrize(("typed", "action"), [("y", "accept"), ("n", "decline")])
async def test_page_is_named_but_not_opened(answers, capsys, typed, action):
    answers(typed)
    params = ElicitRequestURLParams(message="Pay", url="https://example.com/pay")
    context: Any = None
    result = await ask(context, params)

    assert result.action == action
    assert "Open this page yourself: https://example.com/pay" in capsys.readouterr().err


async def test_nobody_is_asked_where_there_is_no_terminal(monkeypatch, capsys):
    with open(os.devnull) as nowhere:
        monkeypatch.setattr(sys, "stdin", nowhere)
        result = await put(one(type="string"))

    assert result.action == "cancel"
    assert "there is no terminal" in capsys.readouterr().err
