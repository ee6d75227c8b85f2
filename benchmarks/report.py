"""What a benchmark prints: aligned tables, and one JSON object as the last line."""

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from typing import Any

PACKAGES = (
    "django",
    "channels",
    "daphne",
    "uvicorn",
    "websockets",
    "autobahn",
    "msgspec",
    "mcp",
    "pydantic",
)


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table: words to the left, figures to the right."""
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    is_figure = [
        any(cell[:1].isdigit() for cell in column[1:])
        and not any(cell[:1].isalpha() for cell in column[1:])
        for column in columns
    ]

    def line(cells: Sequence[str]) -> str:
        placed = [
            cell.rjust(width) if figure else cell.ljust(width)
            for cell, width, figure in zip(cells, widths, is_figure, strict=True)
        ]
        return "| " + " | ".join(placed) + " |"

    rules = [
        "-" * (width - 1) + ":" if figure else "-" * width
        for width, figure in zip(widths, is_figure, strict=True)
    ]
    print("", line(heads), line(rules), *map(line, rows), "", sep="\n", flush=True)


def describe_versions() -> str:
    """Return the versions of everything that takes part, for the head of a table."""
    words = [f"{platform.python_implementation()} {platform.python_version()}"]
    for package in PACKAGES:
        try:
            words.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            words.append(f"{package} missing")
    return ", ".join(words)


def print_json(result: dict[str, Any]) -> None:
    """Print the line a program reads. Nothing may be printed after it."""
    print(json.dumps(rounded(result), separators=(",", ":")), flush=True)


def rounded(value: Any) -> Any:
    """Round every float within `value` to four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return value
