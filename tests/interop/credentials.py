"""A scheme of the site's own: whoever knows the word is as good as anybody."""

from django.contrib.auth.models import AnonymousUser

from mcp_channels import Handshake, Identity

__all__ = ["WORD", "authenticate"]

WORD = "secret"


def authenticate(handshake: Handshake) -> Identity | None:
    if handshake.bearer != WORD:
        return None
    return Identity(AnonymousUser(), credential="word")
