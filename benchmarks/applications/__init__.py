"""The sides compared: each module has an ASGI `application` with the same tools."""
