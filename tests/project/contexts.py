"""A context for calling what the atlas offers without a connection."""

from collections import deque

from django.contrib.auth.models import AnonymousUser
from msgspec import UNSET

from mcp_channels.protocol.types import ClientCapabilities


class FakeContext:
    """Records what is said, and answers questions with what it was given."""

    def __init__(self, user=None, *, answers=(), sampling=None, roots=None):
        self.user = user or AnonymousUser()
        self.capabilities = ClientCapabilities(
            sampling={} if sampling is not None else UNSET,
            roots={} if roots is not None else UNSET,
        )
        self.steps = []
        self.messages = []
        self.questions = []
        self._answers = deque(answers)
        self._sampling = sampling
        self._roots = roots

    def progress(self, done, total=None, message=None):
        self.steps.append((done, total, message))

    def log(self, level, data, logger=None):
        self.messages.append((level, data))

    def elicit(self, message, form):
        self.questions.append((message, form))
        return give(self._answers.popleft())

    async def asample(self, messages, *, max_tokens):
        self.questions.append((messages, max_tokens))
        return give(self._sampling)

    def list_roots(self):
        return give(self._roots)


def give(answer):
    """Return an answer, call one that is a function, raise one that is an error."""
    if isinstance(answer, Exception):
        raise answer
    return answer() if callable(answer) else answer
