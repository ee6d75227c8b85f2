from django.urls import reverse


def test_page_of_tickets_has_a_name() -> None:
    assert reverse("mcp_channels:ticket") == "/mcp/ticket/"
