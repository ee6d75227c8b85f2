"""
The tests on PostgreSQL need its settings and a server, and no other test is to wait for
that.

So `pytest` runs them in a child process, from test_postgres.py. To run some of them by
hand: `scripts/test --ds=tests.postgres.settings tests/postgres/test_fields.py`.
"""

from django.conf import settings

if settings.SETTINGS_MODULE == "tests.postgres.settings":
    collect_ignore = ["test_postgres.py"]
else:
    collect_ignore_glob = ["test_[!p]*.py"]
