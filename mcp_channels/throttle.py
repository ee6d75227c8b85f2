"""
Failed attempts to sign in, by address.

Secrets are too long to be guessed. This keeps those who try from keeping the database
busy, and is there for what a site brings along that can be guessed.
"""

import ipaddress
import logging
from typing import Final

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from mcp_channels.conf import get_settings

__all__ = ["address_of", "count_failure", "is_throttled"]

logger = logging.getLogger("mcp_channels")

_PERIOD: Final = 60  # seconds from the first failure on


def address_of(peer: str | None, forwarded: str) -> str:
    """
    Return the address that attempts are counted by, empty when it cannot be known.

    `peer` is who is connected, `forwarded` the X-Forwarded-For header: it is believed
    as far as TRUSTED_PROXIES have written it. A network of IPv6 is one address, since
    who has one has all of them.
    """
    proxies = get_settings().TRUSTED_PROXIES
    hops = [hop.strip() for hop in forwarded.split(",")]
    # Each proxy adds whom it saw at the end; what is before that anybody may claim.
    seen = hops[-proxies] if 0 < proxies <= len(hops) else ""
    for text in (seen, peer or ""):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if address.version == 6 and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address.version == 6:
            return str(ipaddress.ip_network((address, 64), strict=False))
        return str(address)
    return ""


def is_throttled(address: str) -> bool:
    """Tell whether there were too many failures. May wait for the cache."""
    limit = get_settings().MAX_FAILED_ATTEMPTS
    if limit is None or not address:
        return False
    try:
        failures: int = _cache().get(_key(address), 0)
    except Exception:
        # Without the cache a credential still has to be right.
        logger.exception("Failed attempts are not counted")
        return False
    return failures >= limit


def count_failure(address: str) -> None:
    """Count one more failure. May wait for the cache."""
    if get_settings().MAX_FAILED_ATTEMPTS is None or not address:
        return
    try:
        if not _cache().add(_key(address), 1, _PERIOD):
            _cache().incr(_key(address))
    except ValueError:
        # It was forgotten in between.
        logger.debug("A failed attempt was not counted")
    except Exception:
        logger.exception("Failed attempts are not counted")


def _cache() -> BaseCache:
    return caches[get_settings().CACHE]


def _key(address: str) -> str:
    return f"mcp_channels:failures:{address}"
