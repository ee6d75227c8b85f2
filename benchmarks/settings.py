"""A Django site like many, with `mcp_channels` as a site developer would set it up."""

SECRET_KEY = "benchmarks"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "channels",
    "mcp_channels",
    "benchmarks.tools",
]

# Nothing here reads or writes it: a call of these tools touches no database.
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

# No limit and no protection is turned off; the client of the benchmarks has no account.
MCP_CHANNELS = {"SERVER_NAME": "benchmarks", "ALLOW_ANONYMOUS": True}
