"""A model exposed for one test, and a way to call what is made of it."""

from typing import Any

import msgspec
from msgspec import Raw

from mcp_channels.modeltools.options import ModelTools
from mcp_channels.modeltools.registration import register
from mcp_channels.server.permissions import Identity
from mcp_channels.server.schemas import encode_value
from tests.sites import Site


class Exposed:
    """`model` with these options, for `user`."""

    def __init__(self, model: Any, user: Any, *bases: Any, **options: Any) -> None:
        self.site = Site()
        register(model, registry=self.site)(
            type("Tools", (*bases, ModelTools), options)
        )
        self.exposure = self.site.exposures[model]
        self.user = user

        assert self.exposure.problems == []

    def __call__(self, operation: str, **arguments: Any) -> Any:
        """Do what a call of the tool does, in this thread and its transaction."""
        found = self.exposure.operations[operation]
        decoded = found.arguments.decode(Raw(msgspec.json.encode(arguments)))
        value = found.run(Identity(self.user), **decoded)
        return msgspec.json.decode(encode_value(value))
