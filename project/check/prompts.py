"""Prompts: listed, completed, got, and got wrong."""

import json

from project.check.judge import Judge
from project.peer import Json, Peer

__all__ = ["check_prompts"]


async def check_prompts(judge: Judge, peer: Peer) -> None:
    pages = await peer.pages("prompts/list", "prompts")
    prompts = {prompt["name"]: prompt for page in pages for prompt in page}
    required = {
        argument["name"]: argument["required"]
        for argument in prompts["plan_holiday"]["arguments"]
    }
    judge.expect(
        prompts.keys() == {"plan_holiday", "country_briefing"}
        and required
        == {"country": True, "days": False, "style": False, "start": False},
        "two prompts are listed with their arguments",
        prompts,
    )
    await check_completion(judge, peer)
    await check_messages(judge, peer)


async def check_completion(judge: Judge, peer: Peer) -> None:
    countries = await complete(peer, "country", "")
    judge.expect(
        len(countries["values"]) == 100
        and countries["total"] > 240
        and countries["hasMore"] is True,
        "of all the countries a hundred are proposed",
        countries,
    )
    countries = await complete(peer, "country", "portu")
    judge.expect(
        countries["values"] == ["Portugal"], "a country is completed", countries
    )
    styles = await complete(peer, "style", "")
    judge.expect(
        styles["values"] == ["quiet", "lively", "outdoors"],
        "the styles there are complete themselves",
        styles,
    )
    cities = await complete(peer, "start", "lis", country="Portugal")
    judge.expect(
        cities["values"] == ["Lisbon"], "a city is one of that country", cities
    )


async def check_messages(judge: Judge, peer: Peer) -> None:
    arguments = {"country": "Portugal", "days": "5", "style": "lively"}
    result = await peer.request(
        "prompts/get", {"name": "plan_holiday", "arguments": arguments}
    )
    (message,) = result["messages"]
    judge.expect(
        message["role"] == "user"
        and "Plan 5 days in Portugal" in message["content"]["text"],
        "plan_holiday is made of its arguments",
        result,
    )
    result = await peer.request(
        "prompts/get", {"name": "country_briefing", "arguments": {"country": "PT"}}
    )
    embedded, question = (message["content"] for message in result["messages"])
    judge.expect(
        embedded["type"] == "resource"
        and embedded["resource"]["uri"] == "atlas://countries/PT"
        and json.loads(embedded["resource"]["text"])["capital"] == "Lisbon"
        and question["type"] == "text",
        "country_briefing brings a resource along",
        result,
    )
    mistakes: list[tuple[str, Json, str]] = [
        ("plan_holiday", {}, "a missing argument is refused"),
        ("plan_holiday", {"country": "Atlantis"}, "an unknown country is refused"),
        (
            "plan_holiday",
            {"country": "PT", "days": "many"},
            "an argument of the wrong type is refused",
        ),
        ("stay_at_home", {}, "an unknown prompt is refused"),
    ]
    for name, arguments, claim in mistakes:
        error = await peer.refusal(
            "prompts/get", {"name": name, "arguments": arguments}
        )
        judge.expect(error.get("code") == -32602, claim, error)


async def complete(peer: Peer, argument: str, value: str, **known: str) -> Json:
    """Complete an argument of plan_holiday, when some others are known."""
    params: Json = {
        "ref": {"type": "ref/prompt", "name": "plan_holiday"},
        "argument": {"name": argument, "value": value},
    }
    if known:
        params["context"] = {"arguments": known}
    result = await peer.request("completion/complete", params)
    completion: Json = result["completion"]
    return completion
