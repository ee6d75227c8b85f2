"""What tools, resources and prompts have in common: a function of the site."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import Any, ClassVar, Final, Self, TypeVar

import docstring_parser
import msgspec
from django.core.exceptions import ImproperlyConfigured
from msgspec import UNSET

from mcp_channels.server.context import Context, current_context
from mcp_channels.server.permissions import Permission, Requirement
from mcp_channels.server.schemas import encode_value

__all__ = ["Primitive", "or_unset"]

T = TypeVar("T", bound=msgspec.Struct)

_PERMISSION: Final = re.compile(r"\w+\.\w+")


class Primitive:
    """
    A function that is offered under a name, None for its own.

    `permission` is a Django permission, "app_label.codename", or several that are all
    needed, or a function that takes an Identity and decides; the primitive does not
    exist for a client without it. `timeout` is in seconds, None for the setting.
    `tags` are words that an endpoint can choose it by.
    `atomic` wraps a synchronous function in a transaction, None for ATOMIC_REQUESTS.
    Raise ImproperlyConfigured when it cannot be offered.
    """

    kind: ClassVar[str]  # what it is called in messages to the site's developer
    definition: Any  # what clients are told of it, a noun of `types`

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None,
        permission: Permission | Iterable[str] | None,
        timeout: float | None,
        atomic: bool | None,
        tags: Iterable[str] = (),
    ) -> None:
        if inspect.isclass(function) or not hasattr(function, "__qualname__"):
            raise ImproperlyConfigured(
                f"{function!r} cannot be a {self.kind}: write a function that calls it."
            )
        self.function = function
        self.name = function.__name__ if name is None else name
        self.permission = self._to_permission(permission)
        self.requirement: Requirement | None = None
        self.tags = self._to_tags(tags)
        self.timeout = timeout
        self.atomic = atomic
        self.is_async = inspect.iscoroutinefunction(function)
        if timeout is not None and not timeout > 0:  # NaN is neither
            raise ImproperlyConfigured(
                f"{self.label}: timeout must be more than 0 seconds."
            )
        if atomic and self.is_async:
            raise ImproperlyConfigured(
                f"{self.label}: an asynchronous function cannot be atomic, because "
                f"Django's transactions are synchronous."
            )
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(
            function
        ):
            raise ImproperlyConfigured(
                f"{self.label}: a generator cannot be a {self.kind}. Return a list, "
                f"and tell of the way with Context.progress()."
            )
        docstring = _parse_docstring(inspect.getdoc(function) or "")
        self.description = (docstring.description or "").strip() or None
        self.parameter_descriptions: Mapping[str, str] = {
            parameter.arg_name: parameter.description
            for parameter in docstring.params
            if parameter.description
        }

    @property
    def key(self) -> str:
        """What clients tell it apart by."""
        return self.name

    @property
    def is_read_only(self) -> bool:
        """Whether it changes nothing, as what is read."""
        return True

    @property
    def needs_permission(self) -> bool:
        """Whether it depends on the user who sees it."""
        return self.permission is not None or self.requirement is not None

    @property
    def label(self) -> str:
        """What it is called in messages, such as "Tool 'refund'"."""
        return f"{self.kind.capitalize()} {self.name!r}"

    @property
    def place(self) -> str:
        """Where the function is defined, for messages to the site's developer."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    def adapt(
        self,
        *,
        title: str = "",
        description: str = "",
        requirement: Requirement | None = None,
        timeout: float | None = None,
    ) -> Self:
        """Return another one like it, with what is given here; what is empty stays as
        it is."""
        own = copy(self)
        changes = {"title": title, "description": description}
        own.definition = msgspec.structs.replace(
            self.definition, **{name: text for name, text in changes.items() if text}
        )
        own.requirement = requirement
        own.timeout = self.timeout if timeout is None else timeout
        return own

    async def run(self, context: Context, keywords: dict[str, Any]) -> Any:
        """Call the function, in a thread if it is synchronous. Raise what it does."""
        current_context.set(context)
        workers = context.session.workers
        if self.is_async:
            try:
                return await self.function(**keywords)
            finally:
                workers.clean_after_async()
        value = await workers.run(self._call, keywords, atomic=self.atomic)
        # A synchronous wrapper around an asynchronous function looks like this.
        return await value if inspect.isawaitable(value) else value

    def check(self, definition: T) -> T:
        """
        Return `definition` as clients will read it, lazy translations translated.

        Raise ImproperlyConfigured when it cannot be sent: it would take the whole list
        with it.
        """
        try:
            return msgspec.json.decode(encode_value(definition), type=type(definition))
        except (TypeError, ValueError, msgspec.ValidationError) as exc:
            raise ImproperlyConfigured(f"{self.label}: {exc}") from exc

    def _to_permission(
        self, permission: Permission | Iterable[str] | None
    ) -> Permission | None:
        if inspect.iscoroutinefunction(permission):
            raise ImproperlyConfigured(
                f"{self.label}: a permission is asked in a thread, and cannot be an "
                f"asynchronous function."
            )
        if permission is None or callable(permission):
            return permission
        names = (permission,) if isinstance(permission, str) else tuple(permission)
        for name in names:
            if not _PERMISSION.fullmatch(name):
                raise ImproperlyConfigured(
                    f"{self.label}: permission {name!r} is invalid: use "
                    f"'app_label.codename', several of them, or a function that "
                    f"takes an Identity."
                )
        if not names:
            raise ImproperlyConfigured(
                f"{self.label}: no permission is not the same as None: say which."
            )
        return permission if isinstance(permission, str) else names

    def _to_tags(self, tags: Iterable[str]) -> frozenset[str]:
        if isinstance(tags, str):
            raise ImproperlyConfigured(
                f"{self.label}: tags are several words: write tags=[{tags!r}]."
            )
        return frozenset(tags)

    def _call(self, keywords: dict[str, Any]) -> Any:
        return self.function(**keywords)


def _parse_docstring(text: str) -> docstring_parser.Docstring:
    if not text:
        return docstring_parser.Docstring()
    try:
        return docstring_parser.parse(text)
    except Exception:
        # The parsers of other styles than its own may stumble over it anyhow.
        docstring = docstring_parser.Docstring()
        docstring.long_description = text
        return docstring


def or_unset(value: Any) -> Any:
    """Return UNSET for None, which is what a site leaves out."""
    return UNSET if value is None else value
