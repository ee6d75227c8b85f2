"""
What no event tells of: each process looks at an interval, in a few queries for all.

A message that was lost, an update() of a queryset and a statement by hand change what
somebody may do without a word. What is found here takes the way of an event.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.contrib.auth import get_user_model

from mcp_channels.conf import get_settings
from mcp_channels.policy import renew_policy
from mcp_channels.server.concurrency import get_access_workers
from mcp_channels.server.dispatch import Dispatcher
from mcp_channels.server.events import AccessChanged
from mcp_channels.server.permissions import Identity

__all__ = ["find_fingerprints", "unwatch", "watch"]

logger = logging.getLogger("mcp_channels")

# Keys of one query: databases differ in how many they take.
_AT_ONCE: Final = 500

_watches: Final[dict[asyncio.AbstractEventLoop, "_Watch"]] = {}


def watch(dispatcher: Dispatcher) -> None:
    """Look now and then whether its identity is still what it was, until unwatch()."""
    found = _watches.get(dispatcher.loop)
    if found is None:
        found = _watches[dispatcher.loop] = _Watch(dispatcher.loop)
    found.seen[dispatcher] = None


def unwatch(dispatcher: Dispatcher) -> None:
    """Look no more."""
    found = _watches.get(dispatcher.loop)
    if found is not None:
        found.seen.pop(dispatcher, None)
        if not found.seen:
            found.stop()
            del _watches[dispatcher.loop]


class _Watch:
    """The connections of one event loop, each with what was seen of it last; None for
    one that was not looked at yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.seen: dict[Dispatcher, int | None] = {}
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._timer = self._wait()

    def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _wait(self) -> asyncio.TimerHandle:
        return self._loop.call_later(get_settings().ACCESS_INTERVAL, self._start)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._look())

    async def _look(self) -> None:
        dispatchers = list(self.seen)
        identities = [dispatcher.identity for dispatcher in dispatchers]
        try:
            found = await get_access_workers().run(find_fingerprints, identities)
        except Exception:
            # The database may be back next time.
            logger.exception("Access was not looked at")
        else:
            self._compare(dict(zip(dispatchers, found, strict=True)))
        self._timer = self._wait()

    def _compare(self, found: Mapping[Dispatcher, int]) -> None:
        new = []
        for dispatcher, fingerprint in found.items():
            before = self.seen.get(dispatcher, fingerprint)
            if before is None:
                new.append(dispatcher)
            elif before != fingerprint:
                dispatcher.notify(AccessChanged("everybody"))
            if dispatcher in self.seen:
                self.seen[dispatcher] = fingerprint
        # Something may have changed between its opening and now. Not all at once: they
        # may all have come at the same time, after a restart.
        for number, dispatcher in enumerate(new):
            share = get_settings().ACCESS_INTERVAL * number / len(new)
            self._loop.call_later(share, dispatcher.look_again)


def find_fingerprints(identities: Sequence[Identity]) -> list[int]:
    """
    Return a number for each identity that is another when its access may be.

    Whoever asks with a token is noted to use it. Call it in a thread.
    """
    from mcp_channels import tokens
    from mcp_channels.models import AccessToken
    from mcp_channels.sessions import Session, find_living

    model = get_user_model()
    users = {i.user.pk for i in identities if isinstance(i.user, model)}
    grants = {i.token.pk for i in identities if i.token is not None}
    sessions = {i.renew.key for i in identities if isinstance(i.renew, Session)}
    revision = renew_policy().revision
    rows = _find_rows(model, _fields(model, without="last_login"), users)
    token_rows = _find_rows(
        AccessToken, _fields(AccessToken, without="last_used_at"), grants
    )
    members = _find_members(model, users)
    groups = _find_permissions_of_groups() if users else 0
    living = find_living(sessions) if sessions else set()
    for keys in _in_parts(grants):
        tokens.note_use(keys)

    def describe(identity: Identity) -> int:
        pk = str(identity.user.pk)
        user = (groups, rows.get(pk), members.get(pk)) if pk in rows else None
        token = identity.token and token_rows.get(identity.token.pk)
        is_living = isinstance(identity.renew, Session) and identity.renew.key in living
        return hash((revision, user, token, is_living))

    return list(map(describe, identities))


def _fields(model: Any, *, without: str) -> list[str]:
    names = [field.attname for field in model._meta.concrete_fields]
    return ["pk", *(name for name in names if name != without)]


def _find_rows(model: Any, fields: list[str], keys: Iterable[Any]) -> dict[str, int]:
    """Return a number for each row, by primary key."""
    found = {}
    for part in _in_parts(keys):
        rows = model._default_manager.filter(pk__in=part).values_list(*fields)
        found.update({str(row[0]): hash(repr(row)) for row in rows})
    return found


def _find_members(model: Any, keys: Iterable[Any]) -> dict[str, int]:
    """Return a number for the groups and the permissions of each user."""
    found: dict[str, int] = {}
    for name in ("groups", "user_permissions"):
        field = getattr(model, name, None)
        if field is None:
            continue
        user, other = (
            field.rel.field.m2m_column_name(),
            field.rel.field.m2m_reverse_name(),
        )
        for part in _in_parts(keys):
            pairs = field.through._default_manager.filter(**{f"{user}__in": part})
            for one, its in pairs.values_list(user, other):
                # The sum does not depend on their order.
                found[str(one)] = found.get(str(one), 0) + hash((name, its))
    return found


def _find_permissions_of_groups() -> int:
    from django.contrib.auth.models import Group

    pairs = Group.permissions.through._default_manager.values_list(
        "group_id", "permission_id"
    )
    return sum(map(hash, pairs))


def _in_parts(keys: Iterable[Any]) -> Iterable[list[Any]]:
    keys = list(keys)
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]
