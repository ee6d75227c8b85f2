"""
A call to a tool that asks questions, carried on alike in both eras.

A legacy client is asked over the socket while the call is open. A modern one gets the
questions for an answer, and calls again with what it has to say.
"""

from project.peer import CheckFailed, Json, Peer, shorten

__all__ = ["Talk"]


class Talk:
    """
    One call, from question to question.

    After each step either `question` holds the method and the params of what is asked,
    or `result` holds what came of the call.
    """

    def __init__(self, peer: Peer, name: str, arguments: Json) -> None:
        self.peer = peer
        self.call: Json = {"name": name, "arguments": arguments}
        self.id = 0
        self.question: Json = {}
        self.result: Json = {}
        self.key = ""  # of a modern question
        self.state = ""

    async def begin(self) -> None:
        self.id = await self.peer.ask("tools/call", self.call)
        await self.listen()

    async def answer(self, result: Json) -> None:
        """Answer the question that was asked last."""
        if self.peer.is_modern:
            self.id = await self.peer.ask("tools/call", self.again(result))
        else:
            await self.peer.reply(self.question, {"result": result})
        await self.listen()

    async def refuse(self, code: int, message: str) -> None:
        """Refuse the question, as only a legacy client can."""
        error = {"code": code, "message": message}
        await self.peer.reply(self.question, {"error": error})
        await self.listen()

    async def fill_in(self, **content: object) -> None:
        """Answer with a form that was filled in."""
        await self.answer({"action": "accept", "content": content})

    def again(self, result: Json) -> Json:
        """Return the params of the call with an answer, for a modern client."""
        return {
            **self.call,
            "inputResponses": {self.key: result},
            "requestState": self.state,
        }

    async def listen(self) -> None:
        """Wait for a question or the end. Raise CheckFailed when it was refused."""
        peer = self.peer
        self.question = {}
        await peer.until(
            lambda: self.id in peer.answers or peer.questions, "question or answer"
        )
        if peer.questions:
            self.question = peer.questions.pop(0)
            return
        answer = peer.answers[self.id]
        if "error" in answer:
            raise CheckFailed(f"The call was refused: {shorten(answer['error'])}")
        result = answer["result"]
        if result.get("resultType") != "input_required":
            self.result = result
            return
        ((self.key, self.question),) = result["inputRequests"].items()
        self.state = result["requestState"]

    @property
    def asked(self) -> Json:
        """The params of the question. Raise CheckFailed when nothing is asked."""
        if not self.question:
            raise CheckFailed(f"Nothing was asked: {shorten(self.result)}")
        params: Json = self.question["params"]
        return params
