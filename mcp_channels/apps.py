from typing import ClassVar

from django.apps import AppConfig, apps
from django.core import checks
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _

__all__ = ["MCPChannelsConfig"]


class MCPChannelsConfig(AppConfig):
    """Wires the package together, once, when Django starts."""

    name = "mcp_channels"
    verbose_name = _("MCP server")
    default_auto_field = "django.db.models.BigAutoField"

    # Tests that change INSTALLED_APPS make Django call ready() again; what an app has
    # registered stays registered.
    _asked: ClassVar[set[type[AppConfig]]] = set()

    def ready(self) -> None:
        """
        Find what the site's code offers.

        The `mcp` module of every installed app is imported, and an app config that has
        a method `mcp_register(registry)` is asked. Raise ImproperlyConfigured when
        something cannot be offered.
        """
        from mcp_channels.checks import (
            check_registry,
            check_rows,
            check_settings,
            check_tables,
        )
        from mcp_channels.conf import get_settings, problems
        from mcp_channels.receivers import connect_receivers
        from mcp_channels.server.registry import registry

        checks.register(check_settings, self.name)
        checks.register(check_registry, self.name)
        # Where databases are checked at all.
        checks.register(check_tables, self.name, checks.Tags.database)
        checks.register(check_rows, self.name, checks.Tags.database)
        connect_receivers()
        if problems():
            # The check says what is wrong, better than an exception from here.
            return
        autodiscover_modules(get_settings().AUTODISCOVER_MODULE)
        for config in apps.get_app_configs():
            register = getattr(config, "mcp_register", None)
            if register is not None and type(config) not in self._asked:
                self._asked.add(type(config))
                register(registry)
