"""Settings of the conformance site: no database, and no secret to keep."""

SECRET_KEY = "conformance-site-on-this-machine-only"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "channels",
    "mcp_channels",
]
ASGI_APPLICATION = "tests.conformance.asgi.application"
ROOT_URLCONF = "tests.conformance.urls"
MCP_CHANNELS = {
    "SERVER_NAME": "mcp-channels-conformance",
    "SERVER_TITLE": "Something of everything",
    "SERVER_VERSION": "1.0",
    "INSTRUCTIONS": "Call what you are told to call; nothing here has any effect.",
    "ALLOW_ANONYMOUS": True,
}
