"""
What the rows of the admin say, compiled into one value that never changes.

Each process keeps one, and loads another when it hears that rows changed or has not
looked for ACCESS_INTERVAL seconds: one that missed the news comes to the same policy.
"""

import hashlib
import json
import logging
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from django.db import DatabaseError, connections

from mcp_channels.conf import get_settings
from mcp_channels.server.permissions import EndpointPolicy, Requirement
from mcp_channels.server.primitives import Primitive
from mcp_channels.server.registry import Registry

__all__ = [
    "Policy",
    "PrimitivePolicy",
    "compile_policy",
    "current_policy",
    "forget_policy",
    "is_migrated",
    "renew_policy",
]

logger = logging.getLogger("mcp_channels")

# What Django has for a site without DATABASES.
_NO_DATABASE: Final = "django.db.backends.dummy"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimitivePolicy:
    """What is other about one primitive than its code says; empty: nothing."""

    enabled: bool = True
    title: str = ""
    description: str = ""
    requirement: Requirement | None = None
    timeout: float | None = None  # seconds
    rate: str = ""


@dataclass(frozen=True, eq=False)
class Policy:
    """All that the rows say. Policies with the same `revision` say the same."""

    revision: str = ""
    endpoints: Mapping[str, EndpointPolicy] = field(default_factory=dict)  # by slug
    primitives: Mapping[tuple[str, str], PrimitivePolicy] = field(default_factory=dict)
    _offers: dict[Registry, tuple[int, tuple[Primitive, ...]]] = field(
        default_factory=dict, init=False, repr=False
    )

    def find_endpoint(self, slug: str) -> EndpointPolicy | None:
        """Return the endpoint, None when nothing is served there. Without a row, the
        default one is as the settings say."""
        found = self.endpoints.get(slug)
        if found is None and not slug:
            return EndpointPolicy()
        return found if found is not None and found.enabled else None

    def offer(self, registry: Registry) -> tuple[Primitive, ...]:
        """Return what `registry` offers, with what is other about it, and without what
        is disabled."""
        kept = self._offers.get(registry)
        if kept is None or kept[0] != registry.revision:
            kept = registry.revision, tuple(self._apply(registry.primitives))
            self._offers[registry] = kept
        return kept[1]

    def _apply(self, primitives: Iterable[Primitive]) -> Iterable[Primitive]:
        for primitive in primitives:
            own = self.primitives.get((primitive.kind, primitive.key))
            if own is None:
                yield primitive
            elif own.enabled:
                yield primitive.adapt(
                    title=own.title,
                    description=own.description,
                    requirement=own.requirement,
                    timeout=own.timeout,
                )


# What this process goes by. A load is for whoever waits for the lock, too.
_policy: Policy | None = None
_looked_at = -math.inf
_loading = threading.Lock()


def current_policy(since: float) -> Policy | None:
    """Return the policy, None when it is time to call renew_policy(): when it was not
    loaded after `since`, a time of monotonic(), or too long ago."""
    is_old = monotonic() - _looked_at > get_settings().ACCESS_INTERVAL
    return None if is_old or _looked_at < since else _policy


def renew_policy(since: float = math.inf) -> Policy:
    """
    Return the policy that the database has.

    It is loaded only when that was not done after `since`, a time of monotonic(). When
    the database is away, the last one holds; raise DatabaseError when there is none.
    Call it in a thread.
    """
    global _policy, _looked_at
    started = monotonic()
    with _loading:
        if _policy is not None and _looked_at >= min(since, started):
            return _policy
        now = monotonic()
        try:
            found = compile_policy()
        except DatabaseError:
            if _policy is None:
                raise
            logger.exception("Policy not renewed: the last one holds")
            return _policy
        if _policy is None or _policy.revision != found.revision:
            _policy = found
        _looked_at = now
        return _policy


def forget_policy() -> None:
    """Let the policy be loaded when it is needed next, as for another database."""
    global _policy, _looked_at
    _policy, _looked_at = None, -math.inf


def is_migrated() -> bool:
    """Tell whether the tables are there. Raise DatabaseError when it is away."""
    from mcp_channels.models import Endpoint

    connection = connections[Endpoint.objects.db]
    return Endpoint._meta.db_table in connection.introspection.table_names()


def compile_policy() -> Policy:
    """Return what the rows say. Raise DatabaseError when it cannot be known."""
    from mcp_channels.models import Endpoint, PrimitiveSetting

    if connections[Endpoint.objects.db].settings_dict["ENGINE"] == _NO_DATABASE:
        # Where no database is, no row can say anything: the settings hold.
        return Policy()
    try:
        primitives = list(PrimitiveSetting.objects.values())
        endpoints = list(Endpoint.objects.values())
        chosen = list(
            Endpoint.primitives.through.objects.order_by("pk").values_list(
                "endpoint_id", "primitivesetting_id"
            )
        )
    except DatabaseError:
        if is_migrated():
            raise
        # Where no table is, no row can say anything: the settings hold.
        if _policy is None:
            logger.error("Run manage.py migrate: mcp_channels has no tables yet")
        return Policy()
    keys = {row["id"]: (row["kind"], row["key"]) for row in primitives}
    compiled = {keys[row["id"]]: _compile_primitive(row) for row in primitives}
    # Most rows say nothing.
    others = {key: own for key, own in compiled.items() if own != PrimitivePolicy()}
    if not others and not endpoints:
        return Policy()
    said = [row for row in primitives if keys[row["id"]] in others]
    picked = [(endpoint, keys[own]) for endpoint, own in chosen]
    return Policy(
        revision=_digest([said, endpoints, picked]),
        endpoints={
            row["slug"]: _compile_endpoint(
                row, [key for endpoint, key in picked if endpoint == row["id"]]
            )
            for row in endpoints
        },
        primitives=others,
    )


def _compile_primitive(row: Mapping[str, Any]) -> PrimitivePolicy:
    return PrimitivePolicy(
        enabled=row["enabled"],
        title=row["title"],
        description=row["description"],
        requirement=_compile_requirement(row),
        timeout=row["timeout"],
        rate=row["rate"],
    )


def _compile_endpoint(
    row: Mapping[str, Any], chosen: Iterable[tuple[str, str]]
) -> EndpointPolicy:
    selection = row["selection"]
    return EndpointPolicy(
        slug=row["slug"],
        title=row["title"],
        instructions=row["instructions"],
        website_url=row["website_url"],
        icons=tuple(row["icons"]),
        enabled=row["enabled"],
        chosen=frozenset(chosen) if selection == "chosen" else None,
        tags=frozenset(row["tags"]) if selection == "tagged" else None,
        read_only=row["read_only"],
        page_size=row["page_size"],
        allow_anonymous=row["allow_anonymous"],
        requirement=_compile_requirement(row) or Requirement(),
        rate=row["rate"],
        identity_rate=row["identity_rate"],
        max_connections=row["max_connections"],
        audit=row["audit"],
    )


def _compile_requirement(row: Mapping[str, Any]) -> Requirement | None:
    permission = row.get("permission", "")
    requirement = Requirement(
        permissions=(permission,) if permission else (),
        groups=frozenset(row["groups"]),
        staff_only=row["staff_only"],
    )
    return None if requirement == Requirement() else requirement


def _digest(rows: Any) -> str:
    text = json.dumps(rows, default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
