"""
Resources: what a client may read, under a URI. MCP 2026-07-28, server/resources.

    @resource("shop://orders/{number}", mime_type="application/json")
    def order_document(number: int) -> dict: ...

A URI with variables is a template; each variable is a parameter of the function.
"""

import asyncio
import inspect
import logging
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from django.core.exceptions import (
    ImproperlyConfigured,
    ObjectDoesNotExist,
    PermissionDenied,
)
from django.http import Http404
from django.utils.functional import Promise
from msgspec import UNSET

from mcp_channels.protocol import content, types
from mcp_channels.protocol.content import Annotations, Icon, ResourceContents
from mcp_channels.protocol.errors import (
    InternalError,
    ProtocolError,
    ResourceNotFound,
)
from mcp_channels.protocol.methods import (
    PaginatedRequestParams,
    ReadResourceRequestParams,
)
from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.types import ListResourcesResult, ReadResourceResult
from mcp_channels.protocol.uris import InvalidTemplate, URITemplate
from mcp_channels.server.completion import Completer, Source, make_completers
from mcp_channels.server.context import Context
from mcp_channels.server.interaction import ClientRefused
from mcp_channels.server.pagination import decode_cursor, encode_cursor
from mcp_channels.server.permissions import Permission
from mcp_channels.server.primitives import Primitive, or_unset
from mcp_channels.server.schemas import (
    convert_value,
    encode_value,
    schema_of,
    type_hints,
)

if TYPE_CHECKING:
    from mcp_channels.server.catalogue import Catalogue, FoundResource

__all__ = [
    "Resource",
    "ResourceTemplate",
    "find_resource",
    "is_readable",
    "list_resource_templates",
    "list_resources",
    "make_resource",
    "read_resource",
]

logger = logging.getLogger("mcp_channels")

# What one template may add to a list: it is made anew for every page.
_MOST_LISTED: Final = 1_000
# Seconds that a resource without a timeout gets to be looked at, when nobody waits for
# its contents: others are told later meanwhile.
_LONGEST_LOOK: Final = 10.0

# RFC 3986, section 3.1: a scheme, and after it nothing that has to be encoded. In a
# template also braces.
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x1f\x7f\"<>\\^`|]+")

_decode_result: Final = msgspec.json.Decoder(ReadResourceResult).decode


class _Readable(Primitive):
    """What resources and templates have in common: they are read."""

    def __init__(
        self,
        function: Callable[..., Any],
        uri: str,
        *,
        name: str | None = None,
        mime_type: str | None = None,
        ttl: float | None = None,
        cache_scope: Literal["public", "private"] | None = None,
        permission: Permission | Iterable[str] | None = None,
        timeout: float | None = None,
        atomic: bool | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        self.uri = uri
        super().__init__(
            function,
            name=name,
            permission=permission,
            timeout=timeout,
            atomic=atomic,
            tags=tags,
        )
        if not _URI.fullmatch(uri):
            raise ImproperlyConfigured(
                f"{self.label}: {uri!r} is no URI. Begin with a scheme and encode what "
                f"a URI cannot hold, as in 'shop://orders/5'."
            )
        self._mime_type = mime_type
        self._ttl_ms = None if ttl is None else round(ttl * 1000)
        self._cache_scope = cache_scope
        if ttl is not None and ttl < 0:
            raise ImproperlyConfigured(f"{self.label}: ttl must not be negative.")
        self._hints = type_hints(function)
        self._context: str | None = None
        self._parameters: dict[str, inspect.Parameter] = {}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind not in (
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            ):
                raise ImproperlyConfigured(
                    f"{self.label}: variables come by name, which '{parameter}' does "
                    f"not take."
                )
            hint = self._hints.get(parameter.name)
            if isinstance(hint, type) and issubclass(hint, Context):
                self._context = parameter.name
            else:
                self._parameters[parameter.name] = parameter
                # Refuses a type that no text can become.
                schema_of(self._hints.get(parameter.name, str), self.label)

    @property
    def key(self) -> str:
        """Its URI, or the template of it."""
        return self.uri

    async def read(
        self, context: Context, uri: str, variables: Mapping[str, str]
    ) -> ReadResourceResult:
        """
        Return the contents of `uri`.

        Raise ResourceNotFound when the function finds nothing, returns None, or says
        so with Http404, PermissionDenied or an ObjectDoesNotExist.
        """
        try:
            keywords = self._convert(variables)
            if self._context is not None:
                keywords[self._context] = context
            return self._to_result(await self.run(context, keywords), uri)
        except (ObjectDoesNotExist, Http404, PermissionDenied, _NoSuchValue):
            # Missing and forbidden look the same.
            raise ResourceNotFound(uri) from None
        except ClientRefused as exc:
            raise ProtocolError(str(exc)) from None

    def _convert(self, variables: Mapping[str, str]) -> dict[str, Any]:
        keywords = {}
        for name, parameter in self._parameters.items():
            if name in variables:
                hint = self._hints.get(name, str)
                try:
                    keywords[name] = convert_value(variables[name], hint, strict=False)
                except msgspec.ValidationError:
                    # What is no number is the number of nothing.
                    raise _NoSuchValue from None
            elif parameter.default is parameter.empty:
                # Of a query, of which any part may be left out.
                raise _NoSuchValue
        return keywords

    def _to_result(self, value: Any, uri: str) -> ReadResourceResult:
        if isinstance(value, ReadResourceResult):
            result = value
        else:
            result = ReadResourceResult(contents=self._to_contents(value, uri))
        # "Never an empty contents for a missing resource."
        if not result.contents:
            raise ResourceNotFound(uri)
        # As clients will read it. Also it may be the site's for every request, and what
        # is set below is of this one.
        result = _decode_result(encode_value(result))
        if self._ttl_ms is not None and result.ttl_ms is UNSET:
            result.ttl_ms = self._ttl_ms
        if self._cache_scope is not None and result.cache_scope is UNSET:
            result.cache_scope = self._cache_scope
        return result

    def _to_contents(self, value: Any, uri: str) -> list[ResourceContents]:
        if value is None:
            return []
        if isinstance(value, ResourceContents):
            return [value]
        if isinstance(value, list | tuple) and (
            not value or any(isinstance(item, ResourceContents) for item in value)
        ):
            return list(value)
        if isinstance(value, bytes | bytearray | memoryview):
            kind = self._mime_type or "application/octet-stream"
            return [ResourceContents(uri, blob=bytes(value), mime_type=kind)]
        if isinstance(value, str | Promise):
            kind = self._mime_type or "text/plain"
            return [ResourceContents(uri, text=str(value), mime_type=kind)]
        kind = self._mime_type or "application/json"
        text = encode_value(value).decode()
        return [ResourceContents(uri, text=text, mime_type=kind)]


class _NoSuchValue(Exception):
    """A variable does not fit its parameter."""


class Resource(_Readable):
    """
    A resource with a URI of its own.

    `size` is in bytes. `ttl` is how many seconds a client may keep what it read, and
    `cache_scope` whether for everybody; by default it may not keep it. For the rest
    see Primitive. Raise ImproperlyConfigured when it cannot be offered.
    """

    kind = "resource"

    def __init__(
        self,
        function: Callable[..., Any],
        uri: str,
        *,
        title: str | None = None,
        description: str | None = None,
        size: int | None = None,
        annotations: Annotations | None = None,
        icons: list[Icon] | None = None,
        meta: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(function, uri, **options)
        if "}" in uri:
            raise ImproperlyConfigured(
                f"{self.label}: {uri!r} has a brace without its other."
            )
        if self._parameters:
            raise ImproperlyConfigured(
                f"{self.label}: its function takes {', '.join(self._parameters)}, but "
                f"its URI has no variables. Write them as {{name}}."
            )
        self.definition = self.check(
            content.Resource(
                uri=uri,
                name=self.name,
                title=or_unset(title),
                description=or_unset(description or self.description),
                mime_type=or_unset(self._mime_type),
                size=or_unset(size),
                annotations=or_unset(annotations),
                icons=or_unset(icons),
                meta=or_unset(meta),
            )
        )


class ResourceTemplate(_Readable):
    """
    Resources whose URIs have a pattern.

    `complete` says what the client can complete a variable with; see Completer.
    `list` is a function that returns the resources there are: Resource nouns, or
    mappings of the variables. Raise ImproperlyConfigured when it cannot be offered.
    """

    kind = "resource template"

    def __init__(
        self,
        function: Callable[..., Any],
        uri: str,
        *,
        title: str | None = None,
        description: str | None = None,
        annotations: Annotations | None = None,
        icons: list[Icon] | None = None,
        meta: dict[str, Any] | None = None,
        complete: Mapping[str, Source] | None = None,
        list: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(function, uri, **options)
        try:
            self._template = URITemplate(uri)
        except InvalidTemplate as exc:
            raise ImproperlyConfigured(f"{self.label}: {exc}") from None
        needed = {
            name
            for name, parameter in self._parameters.items()
            if parameter.default is parameter.empty
        }
        variables = set(self._template.variables)
        if not needed <= variables <= set(self._parameters):
            raise ImproperlyConfigured(
                f"{self.label}: the variables of its URI are "
                f"{', '.join(sorted(variables))}, and the parameters of its function "
                f"{', '.join(self._parameters) or 'none'}. They must be the same."
            )
        self.completers: Mapping[str, Completer] = make_completers(
            self.label, self._template.variables, self._hints, complete or {}
        )
        self._list = None if list is None else _Lister(list)
        self.definition = self.check(
            types.ResourceTemplate(
                uri_template=uri,
                name=self.name,
                title=or_unset(title),
                description=or_unset(description or self.description),
                mime_type=or_unset(self._mime_type),
                annotations=or_unset(annotations),
                icons=or_unset(icons),
                meta=or_unset(meta),
            )
        )

    @property
    def can_list(self) -> bool:
        """Whether it can say which resources there are."""
        return self._list is not None

    def match(self, uri: str) -> dict[str, str] | None:
        """Return the variables of `uri`, None when it is of another kind."""
        return self._template.match(uri)

    async def list_instances(self, context: Context) -> list[content.Resource]:
        """Return the resources there are, at most 1,000."""
        if self._list is None:
            return []
        return [
            self.check(
                item if isinstance(item, content.Resource) else self._make_entry(item)
            )
            for item in await self._list.list(context)
        ]

    def _make_entry(self, variables: Mapping[str, Any]) -> content.Resource:
        values = {name: str(value) for name, value in variables.items()}
        return content.Resource(
            uri=self._template.expand(values),
            name=" ".join([self.name, *values.values()]),
            mime_type=or_unset(self._mime_type),
        )


class _Lister(Primitive):
    """A function that says which resources of a template there are."""

    kind = "list"

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(
            function, name=None, permission=None, timeout=None, atomic=None
        )
        hints = type_hints(function)
        self._context: list[str] = []
        for parameter in inspect.signature(function).parameters.values():
            hint = hints.get(parameter.name)
            if isinstance(hint, type) and issubclass(hint, Context):
                self._context.append(parameter.name)
            elif parameter.default is parameter.empty:
                raise ImproperlyConfigured(
                    f"{self.place} lists resources, and gets nothing but a parameter "
                    f"annotated Context: what is {parameter.name!r}?"
                )

    async def list(self, context: Context) -> list[Any]:
        found = await self.run(context, dict.fromkeys(self._context, context))
        # In a thread: it may be a queryset, which reads the database now.
        return await context.session.workers.run(_take, found)


def _take(found: Iterable[Any]) -> list[Any]:
    return list(islice(found, _MOST_LISTED))


def make_resource(
    function: Callable[..., Any], uri: str, **options: Any
) -> Resource | ResourceTemplate:
    """Return a template when `uri` has variables, and a resource otherwise. Raise
    ImproperlyConfigured when it can be neither."""
    if "{" in uri:
        return ResourceTemplate(function, uri, **options)
    return Resource(function, uri, **options)


async def is_readable(context: Context, uri: str) -> bool:
    """
    Tell whether `uri` can be read by whoever asks, and so be subscribed to.

    A template says what URIs look like, and only reading one tells whether it is there,
    and for whom.
    """
    found = context.session.catalogue.find_resource(uri)
    if found is None or isinstance(found.resource, Resource):
        return found is not None
    try:
        async with asyncio.timeout(found.resource.timeout or _LONGEST_LOOK):
            await found.resource.read(context, uri, found.variables)
    except ResourceNotFound:
        return False
    except (Exception, SystemExit):
        # Of what cannot be read there is no news.
        logger.exception("%s failed", found.resource.label)
        return False
    return True


async def list_resources(
    context: Context, params: PaginatedRequestParams
) -> SharedResult | ListResourcesResult:
    """Answer resources/list. Raise InvalidParams for a cursor not made here."""
    catalogue = context.session.catalogue
    if not catalogue.listing_templates:
        return catalogue.list_resources(params.cursor)
    context.session.expire_after(
        None, context.request, InternalError("The list took too long")
    )
    found: dict[str, content.Resource] = {}
    for template in catalogue.listing_templates:
        for entry in await template.list_instances(context):
            found.setdefault(entry.uri, entry)
    # What has a URI of its own is what is read under it.
    for uri, resource in catalogue.resources.items():
        found[uri] = resource.definition
    entries = [found[uri] for uri in sorted(found)]
    start = 0
    if isinstance(params.cursor, str):
        last = decode_cursor("resources", params.cursor)
        start = bisect_right(entries, last, key=lambda entry: entry.uri)
    page = entries[start : start + catalogue.page_size]
    more = start + catalogue.page_size < len(entries)
    return ListResourcesResult(
        resources=page,
        next_cursor=encode_cursor("resources", page[-1].uri) if more else UNSET,
    )


async def list_resource_templates(
    context: Context, params: PaginatedRequestParams
) -> SharedResult:
    """Answer resources/templates/list. Raise InvalidParams for a cursor not made
    here."""
    return context.session.catalogue.list_templates(params.cursor)


def find_resource(catalogue: "Catalogue", uri: str) -> "FoundResource":
    """Return what `uri` names. Raise ResourceNotFound when that is nothing."""
    found = catalogue.find_resource(uri)
    if found is None:
        raise ResourceNotFound(uri)
    return found


async def read_resource(
    context: Context, params: ReadResourceRequestParams
) -> ReadResourceResult:
    """Answer resources/read. Raise ResourceNotFound for what does not exist."""
    found = find_resource(context.session.catalogue, params.uri)
    context.session.expire_after(
        found.resource.timeout,
        context.request,
        InternalError("The resource took too long"),
    )
    result = await found.resource.read(context, params.uri, found.variables)
    if context.has_answers:
        # What was said in between is part of it: nobody else may see it.
        result.ttl_ms, result.cache_scope = 0, "private"
    return result
