"""
How long eight clients wait together, each for a synchronous tool of 100 ms.

Run `python -m benchmarks.sync_tools`. The key of the last line that matters is
`together_ms`: from the first call sent to the last answer, the worst of the servers.
"""

import time
from statistics import median

from benchmarks.cores import separate_cores
from benchmarks.load import Arrivals, WrongAnswer, open_sessions
from benchmarks.options import add_server_options, make_parser
from benchmarks.report import describe_versions, print_json, print_table
from benchmarks.servers import Server, serve

OURS = "mcp_channels"
SOCKETS = 8


def main(arguments: list[str] | None = None) -> None:
    parser = make_parser(__doc__.strip().splitlines()[0], rounds=7)
    add_server_options(parser, sides=[OURS])
    options = parser.parse_args(arguments)
    if options.smoke:
        options.rounds = 1

    cores = separate_cores()
    print(f"{options.rounds} rounds of {SOCKETS} calls; {cores.description}.")
    print(f"{describe_versions()}.", flush=True)
    cases: dict[str, dict[str, dict[str, float]]] = {}
    for kind in options.servers:
        with serve(kind, options.sides, cores) as servers:
            cases[kind] = {}
            for server in servers:
                with server.explaining_failure():
                    call_together(server)  # the first makes the threads
                    measured = [call_together(server) for _ in range(options.rounds)]
                cases[kind][server.side] = {
                    "together_ms": median(measured),
                    "slowest_round_ms": max(measured),
                }

    print_table(
        ["server", "side", "ms together", "ms, slowest round"],
        [
            [
                kind,
                side,
                f"{figures['together_ms']:.1f}",
                f"{figures['slowest_round_ms']:.1f}",
            ]
            for kind, sides in cases.items()
            for side, figures in sides.items()
        ],
    )
    ours = [sides[OURS]["together_ms"] for sides in cases.values() if OURS in sides]
    print_json(
        {
            "benchmark": "sync_tools",
            "together_ms": max(ours, default=None),
            "sockets": SOCKETS,
            "rounds": options.rounds,
            "smoke": options.smoke,
            "cases": cases,
        }
    )


def call_together(server: Server) -> float:
    """Call `pause` on every socket; return the milliseconds to the last answer."""
    with open_sessions(server.port, SOCKETS) as sessions:
        frames = [session.encode_call("pause", {}) for session in sessions]
        waiting = {session.socket: session for session in sessions}
        # It sleeps: the figure is 100 ms and more, and a wake-up a few microseconds.
        arrivals = Arrivals(waiting, spins=False)
        started = time.perf_counter()
        for session, frame in zip(sessions, frames, strict=True):
            session.socket.send_frames(frame)
        while waiting:
            for socket in arrivals.wait():
                result = waiting.pop(socket).decode_result(socket.receive_one())
                if result["content"] != [{"type": "text", "text": "done"}]:
                    raise WrongAnswer(repr(result))
        return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
