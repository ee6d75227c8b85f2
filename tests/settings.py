"""Settings of the tests: everything the package needs, and nothing of the demo."""

SECRET_KEY = "for tests only"
ALLOWED_HOSTS = ["localhost", "testserver"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "mcp_channels",
]
ASGI_APPLICATION = "tests.asgi.application"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "file:tests?mode=memory&cache=shared",
        "TEST": {"NAME": "file:tests?mode=memory&cache=shared"},
    }
}
MCP_CHANNELS = {"SERVER_NAME": "tests", "ALLOW_ANONYMOUS": True}
