"""
The pages of the package, for a site's URLconf:

    path("mcp/", include("mcp_channels.urls"))
"""

from django.urls import path

from mcp_channels.tickets import issue_ticket

app_name = "mcp_channels"
urlpatterns = [path("ticket/", issue_ticket, name="ticket")]
