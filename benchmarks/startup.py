"""
What the package costs a process that starts Django, a shell or a WSGI worker, say.

Run `python -m benchmarks.startup`. The keys of the last line that matter are
`import_ms`, what `django.setup()` takes longer with `mcp_channels` installed than
without, and `plain_import_ms`, what `import mcp_channels` alone takes.
"""

import os
import subprocess
import sys
from statistics import median

from benchmarks.cores import separate_cores
from benchmarks.options import make_parser
from benchmarks.report import describe_versions, print_json, print_table
from benchmarks.servers import ROOT

CHILD_SECONDS = 60

# Channels and the app with tools are installed in both: the difference is ours alone.
# The app's mcp.py, with three tools, is imported only where something looks for it.
SETUP = """\
import time
started = time.perf_counter()
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="benchmarks",
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "channels",
        {ours}
        "benchmarks.tools",
    ],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3"}}}},
)
django.setup()
print(time.perf_counter() - started)
"""

CHILDREN = {
    "with": SETUP.format(ours='"mcp_channels",'),
    "without": SETUP.format(ours=""),
    "plain": """\
import time
started = time.perf_counter()
import mcp_channels
print(time.perf_counter() - started)
""",
}


def main(arguments: list[str] | None = None) -> None:
    parser = make_parser(__doc__.strip().splitlines()[0], rounds=21)
    options = parser.parse_args(arguments)
    if options.smoke:
        options.rounds = 1

    cores = separate_cores()
    print(
        f"{options.rounds} rounds of {len(CHILDREN)} processes"
        f"{'' if cores.client is None else f' on core {cores.client}'}."
    )
    print(f"{describe_versions()}.", flush=True)
    for code in CHILDREN.values():
        time_child(code)  # the first writes bytecode and fills the page cache
    measured: dict[str, list[float]] = {name: [] for name in CHILDREN}
    for _ in range(options.rounds):
        for name, code in CHILDREN.items():
            measured[name].append(time_child(code))
    differences = [
        ours - theirs
        for ours, theirs in zip(measured["with"], measured["without"], strict=True)
    ]

    figures = {
        "django.setup() without": median(measured["without"]),
        "django.setup() with": median(measured["with"]),
        "difference": median(differences),
        "import mcp_channels": median(measured["plain"]),
    }
    print_table(["what", "ms"], [[name, f"{ms:.1f}"] for name, ms in figures.items()])
    print_json(
        {
            "benchmark": "startup",
            "import_ms": median(differences),
            "plain_import_ms": median(measured["plain"]),
            "setup_with_ms": median(measured["with"]),
            "setup_without_ms": median(measured["without"]),
            "rounds": options.rounds,
            "smoke": options.smoke,
        }
    )


def time_child(code: str) -> float:
    """Run `code` in a new interpreter; return the milliseconds that it printed."""
    environment = dict(os.environ)
    environment.pop("BENCHMARK_FILLER_TOOLS", None)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    completed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
    )
    if completed.returncode:
        raise RuntimeError(f"The child failed:\n{completed.stderr[-4000:]}")
    return float(completed.stdout) * 1e3


if __name__ == "__main__":
    main()
