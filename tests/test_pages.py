"""The checks of the documentation find what they are there to find."""

import pytest

from tests.pages import (
    Block,
    find_broken_links,
    read_blocks,
    read_prose,
    read_tables,
    run_examples,
)


def test_blocks_are_read_with_what_leads_to_them():
    text = "# A\n\nWrite `a.py`:\n\n```python\nx = 1\n```\n\n```\ny\n```\n"

    assert read_blocks(text) == [
        Block("page.md", 6, "python", "x = 1\n", "Write `a.py`:"),
        Block("page.md", 10, "", "y\n", ""),
    ]
    assert read_prose(text) == ["# A", "Write `a.py`:"]


def test_tables_are_read_by_cell():
    text = "| a | b |\n| --- | --- |\n| `x \\| y` | |\n\n| c |\n"

    assert read_tables(text) == [
        [["a", "b"], ["---", "---"], ["`x | y`", ""]],
        [["c"]],
    ]


def test_broken_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# One, two\n")
    page = tmp_path / "page.md"
    page.write_text(
        "## Here\n[a](other.md) [b](other.md#one-two) [c](#here) [d](https://x.y)\n"
        "[e](gone.md) [f](other.md#three) [g](#there)\n"
    )

    assert find_broken_links(page) == ["gone.md", "other.md#three", "#there"]


async def test_wrong_examples_are_found():
    text = """
        >>> 1 + 1
        3
        >>> [1,
        ...  2]
        [1,
         2]
        >>> None.x
        Traceback (most recent call last):
        ValueError: no
        """

    assert [wrong.partition("\n")[0] for wrong in await run_examples(text, {})] == [
        "1 + 1",
        "None.x",
    ]
    with pytest.raises(ZeroDivisionError):
        await run_examples(">>> 1 / 0\n", {})
