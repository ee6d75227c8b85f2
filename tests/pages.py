"""
The documentation, read: what is in a page of Markdown, and what its examples print.

An example is an interactive session in a block `pycon`; dots stand for any text, and
white space is not compared.
"""

import ast
import contextlib
import doctest
import inspect
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "BLOCKS",
    "PAGES",
    "ROOT",
    "Block",
    "blocks_of",
    "code",
    "find_broken_links",
    "find_table",
    "read_blocks",
    "read_prose",
    "read_tables",
    "run_examples",
]

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: str
    line: int  # of its first line of code
    language: str
    text: str
    lead: str  # the last line of prose before it

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def read_blocks(text: str, page: str = "page.md") -> list[Block]:
    """Find the fenced code blocks of a page."""
    blocks, lead, language, code = [], "", None, []
    for number, line in enumerate(text.splitlines(), start=1):
        fence = re.fullmatch(r"```(\w*)", line)
        if fence and language is None:
            language, code, start = fence[1], [], number + 1
        elif fence:
            source = "".join(f"{one}\n" for one in code)
            blocks.append(Block(page, start, language or "", source, lead))
            language, lead = None, ""
        elif language is not None:
            code.append(line)
        elif line.strip():
            lead = line
    assert language is None, f"{page}: a code block is not closed"
    return blocks


def leave_code_out(text: str) -> Iterator[str]:
    """Give the lines of a page that are not in a code block."""
    is_code = False
    for line in text.splitlines():
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield line


def read_prose(text: str) -> list[str]:
    """Give the lines of a page that are neither code nor empty."""
    return [line for line in leave_code_out(text) if line.strip()]


def read_tables(text: str) -> list[list[list[str]]]:
    """Give the tables of a page, each a list of rows, each a list of cells."""
    tables: list[list[list[str]]] = []
    before = ""
    for line in leave_code_out(text):
        if line.startswith("|"):
            if not before.startswith("|"):
                tables.append([])
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            tables[-1].append([cell.strip().replace("\\|", "|") for cell in cells])
        before = line
    return tables


def find_table(page: str, *header: str) -> list[dict[str, str]]:
    """Give the rows of the first table of a page whose header begins so."""
    table = next(
        table
        for table in read_tables((ROOT / page).read_text(encoding="utf-8"))
        if tuple(table[0][: len(header)]) == header
    )
    return [dict(zip(table[0], row, strict=True)) for row in table[2:]]


def code(cell: str) -> str:
    """Take a table's cell that is code out of its backticks."""
    return cell.strip("`")


BLOCKS = [
    block
    for path in PAGES
    for block in read_blocks(
        path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    )
]


def blocks_of(page: str, language: str | None = None) -> list[Block]:
    return [
        block
        for block in BLOCKS
        if block.page == page and language in (None, block.language)
    ]


def make_anchors(text: str) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    headings = [line.lstrip("# ") for line in read_prose(text) if line.startswith("#")]
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def find_broken_links(path: Path) -> list[str]:
    """Find relative links of a page to files or headings that are not there."""
    broken = []
    for link in re.findall(
        r"\]\(([^)\s]+)\)", "\n".join(read_prose(path.read_text(encoding="utf-8")))
    ):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (
            anchor and anchor not in make_anchors(target.read_text(encoding="utf-8"))
        ):
            broken.append(link)
    return broken


async def run_examples(text: str, namespace: dict[str, Any]) -> list[str]:
    """Run an interactive session, and give what is printed other than shown."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    wrong = []
    for example in doctest.DocTestParser().get_examples(text):
        printed = io.StringIO()
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        statement = compile(example.source, "<example>", "single", flags)
        try:
            with contextlib.redirect_stdout(printed):
                value = eval(statement, namespace)
                if inspect.iscoroutine(value):
                    await value
        except Exception as exc:
            if example.exc_msg is None:
                raise
            printed.write(f"{type(exc).__module__}.{type(exc).__name__}: {exc}\n")
        shown = example.want if example.exc_msg is None else example.exc_msg
        if not doctest.OutputChecker().check_output(shown, printed.getvalue(), options):
            wrong.append(f"{example.source}{printed.getvalue()}")
    return wrong
