"""What is shown at a terminal."""

import io

import pytest

from mcp_channels.client.terminal import ProgressBar, harmless, make_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_table_is_aligned_and_cut_to_the_width():
    rows = [["a", "first", "x"], ["longer", "b", "a long description"]]

    assert make_table(rows, 80) == (
        "a       first  x\nlonger  b      a long description\n"
    )
    assert make_table(rows, 20) == "a       first  x\nlonger  b      a lo…\n"
    assert make_table([], 80) == ""


def test_text_cannot_control_the_terminal():
    assert harmless("a\x1b[2Jb\n\x9b\u202e") == "a�[2Jb���"
    assert harmless("é\n\t€", allowed="\n\t") == "é\n\t€"


@pytest.mark.parametrize(
    ("progress", "total", "message", "shown"),
    [
        (1, 2, None, "\r[###############               ]  50%"),
        (2, 2, "done", "\r[##############################] 100% done"),
        (9, 2, None, "\r[##############################] 100%"),
        (-1, 2, None, "\r[                              ]   0%"),
        (7.5, None, "a\rb", "\r7.5 a�b"),
        (7, 0, None, "\r7"),
    ],
)
async def test_progress_is_drawn(progress, total, message, shown):
    terminal = Terminal()
    await ProgressBar(terminal).show(progress, total, message)

    assert terminal.getvalue() == shown


async def test_progress_is_drawn_over_and_taken_away():
    terminal = Terminal()
    bar = ProgressBar(terminal)
    bar.clear()
    assert terminal.getvalue() == ""
    await bar.show(1, None, "long")
    await bar.show(2, None, None)
    bar.clear()
    bar.clear()

    assert terminal.getvalue() == "\r1 long\r2     \r \r"


async def test_progress_is_not_drawn_into_a_file():
    file = io.StringIO()
    bar = ProgressBar(file)
    await bar.show(1, 2, None)
    bar.clear()

    assert file.getvalue() == ""
