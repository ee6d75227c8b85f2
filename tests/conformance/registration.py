"""Where the modules of the conformance site register what they offer."""

from typing import Final

from mcp_channels import Registry

__all__ = ["registry"]

# Not the default registry: the package's own tests run in the same process.
registry: Final = Registry()
