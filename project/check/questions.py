"""
Questions to the client: forms that its user fills in, or not, its model, its folders.

The same conversation is held in both eras; see Talk.
"""

from project.check.era import KEY
from project.check.judge import Judge
from project.check.talk import Talk
from project.check.trips import exists, plan
from project.peer import Peer

__all__ = ["check_questions"]


async def check_questions(judge: Judge, peer: Peer, stranger: Peer) -> None:
    trip = await plan(peer, f"Doubtful, asked by {peer.label}")
    await check_refusals(judge, peer, trip)
    if peer.is_modern:
        await check_state(judge, peer, stranger, trip)
    await check_answers(judge, peer, trip)
    await check_model(judge, peer)
    await check_folders(judge, peer)


async def check_refusals(judge: Judge, peer: Peer, trip: int) -> None:
    for action in ("decline", "cancel"):
        talk = Talk(peer, "cancel_trip", {"trip": trip})
        await talk.begin()
        await talk.answer({"action": action})
        judge.expect(
            talk.result.get("isError") and await exists(peer, trip),
            f"when the user says {action}, the trip stays",
            talk.result,
        )


async def check_answers(judge: Judge, peer: Peer, trip: int) -> None:
    talk = Talk(peer, "cancel_trip", {"trip": trip})
    await talk.begin()
    reason = talk.asked["requestedSchema"]["properties"]["reason"]
    judge.expect(
        talk.question["method"] == "elicitation/create"
        and "illness" in reason["enum"]
        and talk.asked["requestedSchema"]["required"] == ["reason"],
        "cancel_trip asks why, by the form of a Struct",
        talk.question,
    )
    first = talk.asked["message"]
    await talk.fill_in(reason="boredom")
    judge.expect(
        talk.asked["message"].startswith(f"{first}\n\nreason: expected one of "),
        "an answer that is none of the choices is asked for again, and it says why",
        talk.asked["message"],
    )
    await talk.fill_in(reason="illness")
    judge.expect(
        "word" in talk.asked["requestedSchema"]["properties"],
        "then it asks to confirm, by a form of Django",
        talk.question,
    )
    await talk.fill_in(word="maybe")
    judge.expect(
        "That is not the word CANCEL." in talk.asked["message"],
        "what the form's own clean() rejects is asked for again, in its words",
        talk.asked["message"],
    )
    judge.expect(await exists(peer, trip), "nothing is written until the last answer")
    await talk.fill_in(word="cancel")
    content = talk.result.get("structuredContent", {})
    judge.expect(
        content.get("id") == trip and content["reason"] == "illness",
        "with the last answer the trip is cancelled, and the first is not forgotten",
        talk.result,
    )
    judge.expect(not await exists(peer, trip), "it is gone")
    again = await peer.call("cancel_trip", {"trip": trip})
    judge.expect(again.get("isError"), "it cannot be cancelled again", again)


async def check_state(judge: Judge, peer: Peer, stranger: Peer, trip: int) -> None:
    """Try what a dishonest client would try with the state of a call."""
    talk = Talk(peer, "cancel_trip", {"trip": trip})
    await talk.begin()
    answered = talk.again({"action": "accept", "content": {"reason": "illness"}})
    middle = len(talk.state) // 3
    letter = "A" if talk.state[middle] != "A" else "B"
    tampered = talk.state[:middle] + letter + talk.state[middle + 1 :]
    other_call = {"name": "cancel_trip", "arguments": {"trip": trip + 1}}
    for params, client, claim in (
        ({**answered, "requestState": tampered}, peer, "a state that was changed"),
        ({**answered, **other_call}, peer, "a state of a call with other arguments"),
        (answered, stranger, "a state of somebody else"),
    ):
        error = await client.refusal("tools/call", params)
        judge.expect(
            error.get("code") == -32602 and "requestState" in error["message"],
            f"{claim} is refused",
            error,
        )
    error = await peer.refusal(
        "tools/call", talk.call, {f"{KEY}clientCapabilities": {}}
    )
    judge.expect(
        error.get("code") == -32021
        and error["data"] == {"requiredCapabilities": {"elicitation": {"form": {}}}},
        "a client that cannot ask its user is told what it lacks",
        error,
    )
    judge.expect(await exists(peer, trip), "after all that the trip is still there")


async def check_model(judge: Judge, peer: Peer) -> None:
    """Lend the tool a model, and then refuse it."""
    talk = Talk(peer, "describe_city", {"city": "Lisbon, PT"})
    await talk.begin()
    prompt = talk.asked["messages"][0]["content"]["text"]
    judge.expect(
        talk.question["method"] == "sampling/createMessage"
        and "Lisbon" in prompt
        and talk.asked["maxTokens"] == 200,
        "describe_city asks the client's model",
        talk.question,
    )
    text = "Lisbon is steep and bright. Bring good shoes."
    await talk.answer(
        {
            "role": "assistant",
            "content": {"type": "text", "text": text},
            "model": "a-model",
            "stopReason": "endTurn",
        }
    )
    content = talk.result["structuredContent"]
    judge.expect(
        (content["text"], content["written_by"]) == (text, "a-model"),
        "and passes on what it wrote",
        content,
    )
    if peer.is_modern:
        # There a client says no by not calling again.
        result = await peer.call(
            "describe_city", talk.call["arguments"], {f"{KEY}clientCapabilities": {}}
        )
    else:
        await talk.begin()
        await talk.refuse(-1, "The user said no")
        result = talk.result
    content = result["structuredContent"]
    judge.expect(
        content["written_by"] is None and "Lisbon" in content["text"],
        "without a model it gives the plain facts",
        content,
    )


async def check_folders(judge: Judge, peer: Peer) -> None:
    """Tell the tool where the user works, and then do not."""
    trip = await plan(peer, f"Kept, exported by {peer.label}")
    talk = Talk(peer, "export_trip", {"trip": trip})
    await talk.begin()
    judge.expect(
        talk.question["method"] == "roots/list",
        "export_trip asks for the folders of the client",
        talk.question,
    )
    await talk.answer({"roots": [{"uri": "file:///home/ada/trips", "name": "trips"}]})
    content = talk.result["structuredContent"]
    judge.expect(
        len(content["places"]) == 1
        and content["places"][0].startswith("file:///home/ada/trips/kept-")
        and "Braga, Portugal" in content["text"],
        "and proposes a file in it, to be written by the client",
        content,
    )
    await talk.begin()
    await talk.answer({"roots": []})
    content = talk.result["structuredContent"]
    judge.expect(
        content["places"] == [] and "Braga" in content["text"],
        "without folders there is the text alone",
        content,
    )
