"""
What workers write to each other, over a broker where others may write too.

A letter is signed with the SECRET_KEY of the site, and its writer numbers those to
everybody: who gets one learns what else it should have got.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final, NamedTuple

import msgspec
from django.core.signing import BadSignature, Signer
from msgspec import Raw, Struct

from mcp_channels.server.events import (
    Event,
    EverythingChanged,
    decode_event,
    encode_event,
)

__all__ = ["Admission", "Ledger", "Letter", "Outbox", "decode_letter", "encode_letter"]

VERSION: Final = 1  # of a letter; events may be added without a new one

_SALT: Final = "mcp_channels.letters"
# Writers that are remembered, and the numbers of each that have not come.
_MOST_WRITERS: Final = 1_000
_MOST_MISSING: Final = 100
# Seconds that a letter may have been on its way.
_UNDERWAY: Final = 1.0
# Events that wait for the broker, and how many of them go into one letter.
_MOST_WAITING: Final = 10_000
_MOST_TOGETHER: Final = 100


class Letter(Struct, frozen=True, omit_defaults=True):
    """Some events, from one worker to all others, or to one."""

    writer: str  # its outbox
    number: int = 0  # of those to all, from 1; 0 for one to a single worker
    age: float = 0.0  # seconds since the writer came to be, by its own clock
    is_member: bool = False  # whether the writer also gets letters to all
    events: list[Raw] = []
    version: int = VERSION

    def read(self) -> list[Event]:
        """Return the events that are known here: a newer worker may know more."""
        return [event for event in map(decode_event, self.events) if event is not None]


def encode_letter(letter: Letter) -> dict[str, str]:
    """Return `letter` as a message for any channel layer."""
    text = msgspec.json.encode(letter).decode()
    return {"type": "mcp_channels.letter", "text": Signer(salt=_SALT).sign(text)}


def decode_letter(message: Any) -> Letter | None:
    """
    Return the letter that a message is; None when it is one of another version.

    Raise ValueError when nobody wrote it who knows the SECRET_KEY.
    """
    try:
        text = Signer(salt=_SALT).unsign(message["text"])
        version: object = _decode_version(text).version
        return _decode(text) if version == VERSION else None
    except (BadSignature, msgspec.DecodeError, LookupError, TypeError) as exc:
        raise ValueError(f"No letter: {exc!r}") from None


class _Versioned(Struct):
    version: int = VERSION


_decode_version: Final = msgspec.json.Decoder(_Versioned).decode
_decode: Final = msgspec.json.Decoder(Letter).decode


class Admission(NamedTuple):
    """What is known of a letter by its number."""

    is_new: bool  # it did not come before
    is_lost: bool  # one before it did not come, as far as is known


class _Writer:
    __slots__ = ("last", "missing")

    def __init__(self) -> None:
        self.last = 0
        self.missing = set[int]()  # may still come

    def skip(self, number: int) -> bool:
        """Go on with this number; tell whether any before it has not come."""
        skipped = range(self.last + 1, number)
        self.missing.update(skipped[-_MOST_MISSING:])
        while len(self.missing) > _MOST_MISSING:
            self.missing.remove(min(self.missing))
        self.last = number - 1
        return bool(skipped)


class Ledger:
    """The letters to all that came, by their writers."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._writers: OrderedDict[str, _Writer] = OrderedDict()

    def admit(self, letter: Letter) -> Admission:
        """Note that `letter` came."""
        writer = self._writers.get(letter.writer)
        if writer is None:
            writer = self._writers[letter.writer] = _Writer()
            # Of one that has come to be since, all should have come from the first.
            # Clocks of two machines are never compared: ages are.
            if letter.age + _UNDERWAY > time.monotonic() - self._began:
                writer.skip(letter.number)
            if len(self._writers) > _MOST_WRITERS:
                self._writers.popitem(last=False)
        self._writers.move_to_end(letter.writer)
        if letter.number > writer.last:
            is_lost = writer.skip(letter.number)
            writer.last = letter.number
            return Admission(is_new=True, is_lost=is_lost)
        is_new = letter.number in writer.missing
        writer.missing.discard(letter.number)
        return Admission(is_new, is_lost=False)


class Outbox:
    """
    What waits to be sent, and the numbers of the letters to all.

    Events may be put into it from any thread; letters are for one to take.
    """

    def __init__(self, writer: str) -> None:
        self.writer = writer
        self._born = time.monotonic()
        self._changing = threading.Lock()
        self._waiting: dict[Hashable, tuple[str | None, Event]] = {}
        self._unsent: Letter | None = None  # to all, not known to have been sent
        self._number = 0
        self._is_signing = False

    def put(self, event: Event, to: str | None) -> None:
        """Let `event` wait for its letter to the worker of this id, None for all."""
        key = to, event.merges_with
        with self._changing:
            if len(self._waiting) >= _MOST_WAITING:
                # Others will look at everything, once they are told to.
                self._waiting = {None: (None, EverythingChanged())}
            # It goes to the end: whoever waits for several gets them in order.
            self._waiting.pop(key, None)
            self._waiting[key] = to, event

    def sign(self) -> None:
        """Let others know that this worker is there, and of how many letters."""
        self._is_signing = True

    @property
    def has_letters(self) -> bool:
        """Whether take() has one to give."""
        return bool(self._unsent or self._waiting or self._is_signing)

    def take(self, *, is_member: bool) -> tuple[str | None, Letter] | None:
        """Return the next letter, and to which worker it goes; None when there is none.
        One to all is given again until has_sent()."""
        if self._unsent is not None:
            return None, self._unsent
        with self._changing:
            if not self._waiting and not self._is_signing:
                return None
            to, events = self._take_events()
        if to is not None:
            return to, Letter(self.writer, events=events)
        self._is_signing = False
        self._number += 1
        self._unsent = Letter(
            self.writer,
            self._number,
            age=time.monotonic() - self._born,
            is_member=is_member,
            events=events,
        )
        return None, self._unsent

    def has_sent(self, letter: Letter) -> None:
        """Forget a letter of take()."""
        if letter is self._unsent:
            self._unsent = None

    def _take_events(self) -> tuple[str | None, list[Raw]]:
        """Take the oldest event, and others that go to the same worker."""
        to = next(iter(self._waiting.values()), (None, None))[0]
        events: list[Raw] = []
        for key, (other, event) in list(self._waiting.items()):
            if other == to and len(events) < _MOST_TOGETHER:
                events.append(Raw(encode_event(event)))
                del self._waiting[key]
        return to, events
