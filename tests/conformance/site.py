"""The consumer that serves all that the conformance site offers."""

from mcp_channels.consumers import MCPConsumer
from tests.conformance import prompts, questions, resources, tools
from tests.conformance.registration import registry

__all__ = ["ConformanceConsumer"]

# Imported for what they register.
_OFFERED = (tools, questions, resources, prompts)


class ConformanceConsumer(MCPConsumer):
    """Serve the conformance site's registry, which is not that of the process."""

    registry = registry
