"""The conformance site has no pages."""

from typing import Any

urlpatterns: list[Any] = []
