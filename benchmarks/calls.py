"""
How fast `tools/call` is: against a bare ASGI app, and against the official SDK.

Run `python -m benchmarks.calls`; docs/benchmarks.md says what is compared and how.
The keys of the last line that matter are `of_bare_asgi` and `times_sdk`: the worst of
all cases, a case being one server under one load.
"""

import argparse
import time
from statistics import median
from typing import NamedTuple

from benchmarks.cores import Watch, separate_cores
from benchmarks.load import (
    LEGACY,
    LOADS,
    MODERN,
    Caller,
    Load,
    drive,
    open_sessions,
)
from benchmarks.options import add_seconds, add_server_options, make_parser
from benchmarks.report import describe_versions, print_json, print_table
from benchmarks.servers import SIDES, Server, serve

OURS = "mcp_channels"
BARE = "bare_asgi"
SDK = "official_sdk"
SDK_LOWLEVEL = "official_sdk_lowlevel"

WARM_UP = 0.2  # of the measured time: fills caches, and is not counted

Figures = dict[str, float]
Case = dict[str, Figures]  # by side


class Round(NamedTuple):
    """One side in one round."""

    wall: float  # microseconds a call
    cpu: float  # microseconds a call, all threads of the server process
    client_busy: float  # the share of the time in which the client did not wait
    is_disturbed: bool  # other processes had too much of the cores


SideBySide = dict[str, Round]  # by side: all sides in one round


def main(arguments: list[str] | None = None) -> None:
    parser = make_parser(__doc__.strip().splitlines()[0], rounds=5)
    add_seconds(parser, 1.0)
    add_server_options(parser, sides=list(SIDES))
    parser.add_argument(
        "--revision",
        choices=[LEGACY, MODERN],
        default=LEGACY,
        help="protocol revision in which all sides are called",
    )
    parser.add_argument(
        "--client",
        choices=["spin", "sleep"],
        default="spin",
        help="how the client waits; it always sleeps when it has no core of its own",
    )
    options = parser.parse_args(arguments)
    if options.smoke:
        options.rounds, options.seconds = 1, 0.05

    cores = separate_cores()
    watch = Watch(cores)
    options.spins = options.client == "spin" and cores.is_separate
    print(
        f"{options.rounds} rounds of {options.seconds} s; {cores.description}; "
        f"the client {'spins' if options.spins else 'sleeps'}; "
        f"revision {options.revision}.\n{describe_versions()}.",
        flush=True,
    )
    started = time.monotonic()
    cases: dict[str, Case] = {}
    disturbed = 0
    for kind in options.servers:
        with serve(kind, options.sides, cores) as servers:
            for load in LOADS:
                rounds = measure(servers, load, options, watch)
                cases[f"{kind} {load.name}"] = summarise(rounds)
                disturbed += sum(is_disturbed(one) for one in rounds)

    print_cases(cases)
    if disturbed:
        print(f"Other processes disturbed {disturbed} of these rounds.\n")
    print_json(
        {
            "benchmark": "calls",
            "of_bare_asgi": lowest(cases, OURS, f"of_{BARE}"),
            "times_sdk": lowest(cases, OURS, f"times_{SDK}"),
            "times_sdk_lowlevel": lowest(cases, OURS, f"times_{SDK_LOWLEVEL}"),
            # The same of processor time, which other processes hardly disturb.
            "cpu_of_bare_asgi": lowest(cases, OURS, f"cpu_of_{BARE}"),
            "cpu_times_sdk": lowest(cases, OURS, f"cpu_times_{SDK}"),
            # What a side of no cost beyond the bare one's would reach.
            "bare_asgi_times_sdk": lowest(cases, BARE, f"times_{SDK}"),
            "rounds": options.rounds,
            "seconds": options.seconds,
            "revision": options.revision,
            "client": "spin" if options.spins else "sleep",
            "others": watch.others / watch.seconds if watch.seconds else None,
            "disturbed_rounds": disturbed,
            "took_seconds": time.monotonic() - started,
            "smoke": options.smoke,
            "cases": cases,
        }
    )


def measure(
    servers: list[Server], load: Load, options: argparse.Namespace, watch: Watch
) -> list[SideBySide]:
    """
    Measure all sides in each round, so that drift of the machine meets them all.

    A round that other processes disturbed is measured again, but in all no more than
    twice as many rounds as were asked for.
    """
    rounds: list[SideBySide] = []
    spare = 0 if options.smoke else options.rounds
    while len(rounds) < options.rounds:
        # Each round starts with another side, so that none always follows the same.
        first = len(rounds) % len(servers)
        sides = {}
        for server in servers[first:] + servers[:first]:
            with server.explaining_failure():
                sides[server.side] = measure_round(server, load, options, watch)
        if is_disturbed(sides) and spare:
            spare -= 1
        else:
            rounds.append(sides)
    return rounds


def is_disturbed(sides: SideBySide) -> bool:
    return any(one.is_disturbed for one in sides.values())


def measure_round(
    server: Server, load: Load, options: argparse.Namespace, watch: Watch
) -> Round:
    """Open the load's connections, warm them up, and measure their calls."""
    with open_sessions(server.port, load.connections, options.revision) as sessions:
        callers = [Caller(session, load.in_flight) for session in sessions]
        drive(callers, load.in_flight, options.seconds * WARM_UP, options.spins)
        watch.start()
        cpu = server.cpu_seconds()
        measurement = drive(callers, load.in_flight, options.seconds, options.spins)
        cpu = server.cpu_seconds() - cpu
        is_disturbed = watch.stop(cpu)
    return Round(
        wall=measurement.seconds / measurement.calls * 1e6,
        cpu=cpu / measurement.calls * 1e6,
        client_busy=measurement.busy,
        is_disturbed=is_disturbed,
    )


def summarise(rounds: list[SideBySide]) -> Case:
    """Reduce rounds to medians; a ratio is the median of the ratios of each round."""
    case: Case = {}
    for side in rounds[0]:
        own = [sides[side] for sides in rounds]
        figures = case[side] = {
            "calls_per_second": median(1e6 / one.wall for one in own),
            "microseconds": median(one.wall for one in own),
            "cpu_microseconds": median(one.cpu for one in own),
            "client_busy": median(one.client_busy for one in own),
        }
        for other in (BARE, SDK, SDK_LOWLEVEL):
            if other not in rounds[0]:
                continue
            pairs = [(sides[side], sides[other]) for sides in rounds]
            name = f"of_{other}" if other == BARE else f"times_{other}"
            # Speed over the other's speed, which is its time over this one's.
            figures[name] = median(their.wall / one.wall for one, their in pairs)
            figures[f"cpu_{name}"] = median(their.cpu / one.cpu for one, their in pairs)
            if other == BARE:
                figures["cpu_microseconds_over_bare_asgi"] = median(
                    one.cpu - their.cpu for one, their in pairs
                )
    return case


def lowest(cases: dict[str, Case], side: str, key: str) -> float | None:
    """Return the lowest figure of all cases; None when it was not measured."""
    figures = [case[side][key] for case in cases.values() if key in case.get(side, {})]
    return min(figures, default=None)


def print_cases(cases: dict[str, Case]) -> None:
    columns = {
        "calls/s": ("calls_per_second", ",.0f"),
        "us/call": ("microseconds", ".1f"),
        "CPU us/call": ("cpu_microseconds", ".1f"),
        "CPU over bare": ("cpu_microseconds_over_bare_asgi", ".1f"),
        "of bare": (f"of_{BARE}", ".2f"),
        "of bare, CPU": (f"cpu_of_{BARE}", ".2f"),
        "times SDK": (f"times_{SDK}", ".2f"),
        "times SDK, CPU": (f"cpu_times_{SDK}", ".2f"),
        "client busy": ("client_busy", ".0%"),
    }
    print_table(
        ["server, load", "side", *columns],
        [
            [
                case,
                side,
                *(
                    format(figures[key], form) if key in figures else "-"
                    for key, form in columns.values()
                ),
            ]
            for case, sides in cases.items()
            for side, figures in sides.items()
        ],
    )


if __name__ == "__main__":
    main()
