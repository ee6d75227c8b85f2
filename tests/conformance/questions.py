"""Tools that ask the client, each of them once written for both eras."""

from typing import Any, Final, Literal

import msgspec

from mcp_channels import (
    Context,
    CreateMessageResult,
    Declined,
    Elicit,
    ListRoots,
    Sample,
    TextContent,
)
from tests.conformance.registration import registry


class Contact(msgspec.Struct):
    username: str
    email: str


class Profile(msgspec.Struct):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


class UserName(msgspec.Struct):
    name: str


class Confirmation(msgspec.Struct):
    ok: bool


class Favourite(msgspec.Struct):
    color: str


_NAMES: Final = ("option1", "option2", "option3")
_TITLED: Final = [
    {"const": f"value{number}", "title": f"Option {number}"} for number in (1, 2, 3)
]

# Every shape a choice can have, the deprecated one included: no type says all that.
CHOICES: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": [*_NAMES]},
        "titledSingle": {"type": "string", "oneOf": _TITLED},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array",
            "items": {"type": "string", "enum": [*_NAMES]},
        },
        "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
    },
    "required": [],
}

CAPITAL: Final = "What is the capital of France?"


def describe(sampled: CreateMessageResult) -> str:
    """Return the text of what the client's model said."""
    blocks = sampled.content if isinstance(sampled.content, list) else [sampled.content]
    texts = [block.text for block in blocks if isinstance(block, TextContent)]
    return " ".join(texts) or "(no text)"


async def elicit(context: Context, message: str, form: Any) -> str:
    """Ask with `form`, and tell what the user did."""
    try:
        answer = await context.aelicit(message, form)
    except Declined as exc:
        return f"action={exc.action}"
    return f"action=accept, content={msgspec.json.encode(answer).decode()}"


@registry.tool
def test_sampling(context: Context, prompt: str) -> str:
    """
    Let the client's model answer.

    Args:
        prompt: what it is asked.
    """
    return f"LLM response: {describe(context.sample(prompt, max_tokens=100))}"


@registry.tool
async def test_elicitation(context: Context, message: str) -> str:
    """
    Ask the user for a name and an address.

    Args:
        message: what the user is shown.
    """
    return f"User response: {await elicit(context, message, Contact)}"


@registry.tool
async def test_elicitation_sep1034_defaults(context: Context) -> str:
    """Ask with a default for every type."""
    answer = await elicit(context, "Is this right?", Profile)
    return f"Elicitation completed: {answer}"


@registry.tool
async def test_elicitation_sep1330_enums(context: Context) -> str:
    """Ask to choose, in every way there is."""
    answer = await elicit(context, "Which do you choose?", CHOICES)
    return f"Elicitation completed: {answer}"


@registry.tool
def test_input_required_result_elicitation(context: Context) -> str:
    """Ask the user for a name, and greet."""
    user = context.elicit("What is your name?", UserName, key="user_name")
    return f"Hello, {user.name}!"


@registry.tool
def test_input_required_result_sampling(context: Context) -> str:
    """Ask the client's model a question."""
    sampled = context.sample(CAPITAL, max_tokens=100, key="capital_question")
    return f"The model said: {describe(sampled)}"


@registry.tool
async def test_input_required_result_list_roots(context: Context) -> str:
    """Ask for the client's roots."""
    roots = await context.alist_roots(key="client_roots")
    return f"Roots: {', '.join(root.uri for root in roots)}"


@registry.tool
async def test_input_required_result_request_state(context: Context) -> str:
    """Ask for a confirmation, with a state to give back."""
    await context.aelicit("Go on?", Confirmation, key="confirm")
    return "state-ok"


@registry.tool
def test_input_required_result_multiple_inputs(context: Context) -> str:
    """Ask the user, the model and for the roots, all at once."""
    answers = context.ask(
        {
            "user_name": Elicit("What is your name?", UserName),
            "greeting": Sample("Write a short greeting.", max_tokens=50),
            "client_roots": ListRoots(),
        }
    )
    roots = ", ".join(root.uri for root in answers["client_roots"])
    greeting = describe(answers["greeting"])
    return f"{answers['user_name'].name}: {greeting} ({roots})"


@registry.tool
def test_input_required_result_multi_round(context: Context) -> str:
    """Ask twice, one after the other."""
    user = context.elicit("Step 1: what is your name?", UserName, key="step1")
    question = f"Step 2: what is your favourite color, {user.name}?"
    favourite = context.elicit(question, Favourite, key="step2")
    return f"{user.name} likes {favourite.color}."


@registry.tool
async def test_input_required_result_tampered_state(context: Context) -> str:
    """Ask for a confirmation, with a state that nobody can change."""
    await context.aelicit("Go on?", Confirmation, key="confirm")
    return "The state was what it should be."


@registry.tool
async def test_input_required_result_capabilities(context: Context) -> str:
    """Ask only what the client can answer."""
    questions: dict[str, Any] = {
        "user_name": Elicit("What is your name?", UserName),
        "greeting": Sample("Write a short greeting.", max_tokens=50),
        "client_roots": ListRoots(),
    }
    can_answer = {
        key: question
        for key, question in questions.items()
        if context.capabilities.declares(*question.capability)
    }
    answers = await context.aask(can_answer)
    return f"Answered: {', '.join(answers) or 'nothing'}."


@registry.tool
def test_missing_capability(context: Context) -> str:
    """Ask the client's model, which not every client has."""
    return describe(context.sample(CAPITAL, max_tokens=100))


@registry.tool
async def test_streaming_elicitation(context: Context) -> str:
    """Ask the user, where a request to the client must not be sent."""
    await context.aelicit("Go on?", Confirmation, key="confirm")
    return "Confirmed."
