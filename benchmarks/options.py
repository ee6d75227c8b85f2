"""The command line that all benchmarks share."""

import argparse
from collections.abc import Sequence

from benchmarks.servers import SERVERS, SIDES


def make_parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """Make a parser with the options every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--rounds", type=_positive_integer, default=rounds, help="rounds of all cases"
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="a run of a few seconds that proves it works and measures nothing",
    )
    return parser


def add_server_options(
    parser: argparse.ArgumentParser, sides: Sequence[str], possible: Sequence[str] = ()
) -> None:
    """Add the choice of servers and of sides; `possible` empty means all sides."""
    parser.add_argument(
        "--servers",
        nargs="+",
        choices=list(SERVERS),
        default=list(SERVERS),
        help="servers to run on",
    )
    parser.add_argument(
        "--sides",
        nargs="+",
        choices=list(possible or SIDES),
        default=list(sides),
        help="applications to measure",
    )


def add_seconds(parser: argparse.ArgumentParser, seconds: float) -> None:
    parser.add_argument(
        "--seconds",
        type=_positive_number,
        default=seconds,
        help="seconds each case is measured in each round",
    )


def _positive_integer(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _positive_number(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return number
