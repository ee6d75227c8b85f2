"""What a person sees at a terminal: text, tables, progress."""

from collections.abc import Sequence
from typing import Final, TextIO

__all__ = ["ProgressBar", "harmless", "make_table"]

_BAR: Final = 30  # characters
_MARGIN: Final = 2  # spaces between the columns of a table


def harmless(text: str, allowed: str = "") -> str:
    """
    Replace what a terminal would obey instead of showing it.

    A server could move the cursor with it, or make its text look like somebody else's.
    """
    return "".join(
        one if one.isprintable() or one in allowed else "\N{REPLACEMENT CHARACTER}"
        for one in text
    )


def make_table(rows: Sequence[Sequence[str]], width: int) -> str:
    """Align the cells of rows; what does not fit into `width` is cut off."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) + _MARGIN for column in columns[:-1]]
    lines = []
    for *cells, last in rows:
        placed = [cell.ljust(size) for cell, size in zip(cells, widths, strict=True)]
        line = "".join([*placed, last]).rstrip()
        lines.append(line if len(line) <= width else f"{line[: width - 1]}…")
    return "".join(f"{line}\n" for line in lines)


class ProgressBar:
    """How far a call is, on one line of a terminal that is drawn again and again."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._is_seen = file.isatty()
        self._length = 0

    async def show(
        self, progress: float, total: float | None, message: str | None
    ) -> None:
        """Draw it. Nothing is drawn where there is no terminal."""
        if not self._is_seen:
            return
        if total:
            share = min(max(progress / total, 0.0), 1.0)
            done = "#" * round(share * _BAR)
            line = f"[{done:<{_BAR}}] {share:4.0%}"
        else:
            line = f"{progress:g}"
        if message:
            line = f"{line} {harmless(message)}"
        self._draw(line)

    def clear(self) -> None:
        """Take it away, so that the line is free for something else."""
        if self._length:
            self._draw("")
            self._file.write("\r")
            self._file.flush()

    def _draw(self, line: str) -> None:
        self._file.write(f"\r{line:<{self._length}}")
        self._file.flush()
        self._length = len(line)
