"""The books as tools, and the same list as a developer writes it."""

from datetime import date, datetime
from decimal import Decimal

from msgspec import Struct

from benchmarks.library.models import Book
from mcp_channels import ModelTools, register, tool

ROWS = 50


@register(Book)
class BookTools(ModelTools):
    fields = (
        "title",
        "isbn",
        "author__name",
        "price",
        "pages",
        "published_on",
        "is_in_print",
        "added_at",
    )
    filters = {"author": ["exact"], "price": ["gte"]}
    page_size = ROWS


class AuthorRow(Struct):
    pk: int
    label: str
    name: str


class BookRow(Struct):
    pk: int
    title: str
    isbn: str
    author: AuthorRow
    price: Decimal
    pages: int
    published_on: date
    is_in_print: bool
    added_at: datetime


class Page(Struct):
    rows: list[BookRow]
    has_more: bool


@tool(read_only=True)
def books_by_hand() -> Page:
    """List the first books."""
    books = Book.objects.select_related("author").order_by("title", "pk")[: ROWS + 1]
    rows = [
        BookRow(
            book.pk,
            book.title,
            book.isbn,
            AuthorRow(book.author.pk, str(book.author), book.author.name),
            book.price,
            book.pages,
            book.published_on,
            book.is_in_print,
            book.added_at,
        )
        for book in books
    ]
    return Page(rows[:ROWS], len(rows) > ROWS)
