"""
What `tools/list` of a site with many tools costs, in calls of a trivial tool.

Run `python -m benchmarks.lists`. The key of the last line that matters is `times_call`:
one page of the default size over one `tools/call`, the worst of the servers.
`times_call_walk` is a walk over all pages, all requests together, over one call.
"""

import time
from collections import defaultdict
from statistics import median
from typing import Any, NamedTuple

from benchmarks.cores import separate_cores
from benchmarks.load import Arrivals, Session, WrongAnswer, open_sessions
from benchmarks.options import add_server_options, make_parser
from benchmarks.report import describe_versions, print_json, print_table
from benchmarks.servers import Server, serve

OURS = "mcp_channels"
TOOLS = 500
TRIVIAL_TOOLS = 3  # echo, add and pause are there as well
EXCHANGES = 30  # of each kind in each round; its figure is their median
WALKS = 15  # in each round


def main(arguments: list[str] | None = None) -> None:
    parser = make_parser(__doc__.strip().splitlines()[0], rounds=7)
    add_server_options(parser, sides=[OURS], possible=[OURS, "official_sdk"])
    parser.add_argument(
        "--tools", type=int, default=TOOLS, help="tools the site has, 3 or more"
    )
    options = parser.parse_args(arguments)
    if options.tools < TRIVIAL_TOOLS:
        parser.error(f"--tools: there are always {TRIVIAL_TOOLS}")
    if options.smoke:
        options.rounds = 1

    cores = separate_cores()
    print(f"{options.rounds} rounds, {options.tools} tools; {cores.description}.")
    print(f"{describe_versions()}.", flush=True)
    cases: dict[str, dict[str, dict[str, float]]] = {}
    filler = str(options.tools - TRIVIAL_TOOLS)
    for kind in options.servers:
        with serve(
            kind, options.sides, cores, {"BENCHMARK_FILLER_TOOLS": filler}
        ) as servers:
            cases[kind] = {}
            for server in servers:
                with server.explaining_failure():
                    cases[kind][server.side] = measure(
                        server, options.tools, options.rounds, cores.is_separate
                    )

    columns = {
        "us/call": ("call_microseconds", ".1f"),
        "us/page": ("page_microseconds", ".1f"),
        "us/walk": ("walk_microseconds", ".1f"),
        "tools/page": ("page_tools", ".0f"),
        "bytes/page": ("page_bytes", ",.0f"),
        "page/call": ("times_call", ".2f"),
        "walk/call": ("times_call_walk", ".2f"),
    }
    print_table(
        ["server", "side", *columns],
        [
            [
                kind,
                side,
                *(format(figures[key], form) for key, form in columns.values()),
            ]
            for kind, sides in cases.items()
            for side, figures in sides.items()
        ],
    )
    ours = [sides[OURS] for sides in cases.values() if OURS in sides]
    print_json(
        {
            "benchmark": "lists",
            "times_call": max((one["times_call"] for one in ours), default=None),
            "times_call_walk": max(
                (one["times_call_walk"] for one in ours), default=None
            ),
            "tools": options.tools,
            "rounds": options.rounds,
            "smoke": options.smoke,
            "cases": cases,
        }
    )


class Page(NamedTuple):
    """One page as it was answered."""

    tools: list[dict[str, Any]]
    next_cursor: str | None
    size: int  # bytes of the answer's frame, without its head
    seconds: float


def measure(server: Server, tools: int, rounds: int, spins: bool) -> dict[str, float]:
    """Interleave calls, first pages and walks, over one connection."""
    measured: dict[str, list[float]] = defaultdict(list)
    with open_sessions(server.port, 1) as [session]:
        arrivals = Arrivals([session.socket], spins)
        pages = walk(session, arrivals)
        names = [tool["name"] for page in pages for tool in page.tools]
        if len(set(names)) != tools or len(names) != tools:
            raise WrongAnswer(f"{len(names)} tools are listed, not {tools}")
        for _ in range(rounds):
            call = median(time_call(session, arrivals) for _ in range(EXCHANGES))
            page = median(
                list_page(session, arrivals, None).seconds for _ in range(EXCHANGES)
            )
            # The median of each page: one disturbed page does not spoil its walk.
            walks = [walk(session, arrivals) for _ in range(WALKS)]
            whole = sum(
                median(page.seconds for page in same)
                for same in zip(*walks, strict=True)
            )
            measured["call_microseconds"].append(call * 1e6)
            measured["page_microseconds"].append(page * 1e6)
            measured["walk_microseconds"].append(whole * 1e6)
            measured["times_call"].append(page / call)
            measured["times_call_walk"].append(whole / call)
    return {
        **{key: median(values) for key, values in measured.items()},
        "pages": len(pages),
        "page_tools": len(pages[0].tools),
        "page_bytes": pages[0].size,
    }


def walk(session: Session, arrivals: Arrivals) -> list[Page]:
    """List every page, from the first to the one without a cursor."""
    pages = [list_page(session, arrivals, None)]
    while (cursor := pages[-1].next_cursor) is not None:
        pages.append(list_page(session, arrivals, cursor))
    return pages


def list_page(session: Session, arrivals: Arrivals, cursor: str | None) -> Page:
    frame = session.encode_request("tools/list", {"cursor": cursor} if cursor else {})
    message, seconds = exchange(session, arrivals, frame)
    result = session.decode_result(message)
    return Page(result["tools"], result.get("nextCursor"), len(message), seconds)


def time_call(session: Session, arrivals: Arrivals) -> float:
    """Call `echo` once, and return how many seconds its answer took."""
    frame = session.encode_call("echo", {"text": "call"})
    message, seconds = exchange(session, arrivals, frame)
    result = session.decode_result(message)
    if result["content"] != [{"type": "text", "text": "call"}]:
        raise WrongAnswer(repr(result))
    return seconds


def exchange(session: Session, arrivals: Arrivals, frame: bytes) -> tuple[bytes, float]:
    """Send a frame and return its answer, still encoded, and the seconds between."""
    started = time.perf_counter()
    session.socket.send_frames(frame)
    arrivals.wait()
    message = session.socket.receive_one()
    return message, time.perf_counter() - started


if __name__ == "__main__":
    main()
