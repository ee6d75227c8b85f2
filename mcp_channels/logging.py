"""
A handler that brings what a function logs to the client that called it.

    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"client": {"class": "mcp_channels.logging.ClientHandler"}},
        "loggers": {"shop": {"handlers": ["client"], "level": "INFO"}},
    }
"""

import logging
from typing import Final

from mcp_channels.protocol.types import LoggingLevel
from mcp_channels.server.context import current_context

__all__ = ["ClientHandler"]

_LEVELS: Final[tuple[tuple[int, LoggingLevel], ...]] = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)


class ClientHandler(logging.Handler):
    """
    Send log records to the client whose request is being answered.

    Outside of a request it does nothing. A record goes out as its message, without
    traceback: what must not leave the site must not be logged to this handler.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Send `record`; the client decides from which level on it gets any."""
        context = current_context.get()
        if context is None:
            return
        level: LoggingLevel = "debug"
        for least, name in _LEVELS:
            if record.levelno >= least:
                level = name
                break
        try:
            context.log(level, record.getMessage(), record.name)
        except Exception:
            self.handleError(record)
