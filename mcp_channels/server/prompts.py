"""
Prompts: messages that a person can have made for the model. MCP 2026-07-28,
server/prompts.

    @prompt(complete={"country": ["Portugal", "Spain"]})
    def plan_holiday(country: str, days: int = 7) -> str: ...
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from django.core.exceptions import ImproperlyConfigured
from msgspec import UNSET

from mcp_channels.protocol import types
from mcp_channels.protocol.content import Icon
from mcp_channels.protocol.errors import InternalError, InvalidParams, ProtocolError
from mcp_channels.protocol.methods import GetPromptRequestParams, PaginatedRequestParams
from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.types import GetPromptResult, PromptArgument, PromptMessage
from mcp_channels.server.blocks import to_block
from mcp_channels.server.completion import Completer, Source, make_completers
from mcp_channels.server.context import Context
from mcp_channels.server.interaction import ClientRefused
from mcp_channels.server.permissions import Permission
from mcp_channels.server.primitives import Primitive, or_unset
from mcp_channels.server.schemas import (
    convert_value,
    encode_value,
    schema_of,
    type_hints,
)

if TYPE_CHECKING:
    from mcp_channels.server.catalogue import Catalogue

__all__ = ["Prompt", "find_prompt", "get_prompt", "list_prompts"]

_decode_result: Final = msgspec.json.Decoder(GetPromptResult).decode


class Prompt(Primitive):
    """
    A function whose parameters are the arguments of a prompt.

    It returns a text, a content block, a PromptMessage, a list of these, or a
    GetPromptResult. On the wire arguments are text, and become what the annotations
    say. `complete` says what the client can complete an argument with; see Completer.
    For the rest see Primitive. Raise ImproperlyConfigured when it cannot be offered.
    """

    kind = "prompt"

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        icons: list[Icon] | None = None,
        meta: dict[str, Any] | None = None,
        complete: Mapping[str, Source] | None = None,
        permission: Permission | Iterable[str] | None = None,
        timeout: float | None = None,
        atomic: bool | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        super().__init__(
            function,
            name=name,
            permission=permission,
            timeout=timeout,
            atomic=atomic,
            tags=tags,
        )
        self._hints = type_hints(function)
        self._context: str | None = None
        self._parameters: dict[str, inspect.Parameter] = {}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind not in (
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            ):
                raise ImproperlyConfigured(
                    f"{self.label}: arguments come by name, which '{parameter}' does "
                    f"not take."
                )
            hint = self._hints.get(parameter.name)
            if isinstance(hint, type) and issubclass(hint, Context):
                self._context = parameter.name
            else:
                self._parameters[parameter.name] = parameter
                # Refuses a type that no text can become.
                schema_of(self._hints.get(parameter.name, str), self.label)
        self.completers: Mapping[str, Completer] = make_completers(
            self.label, self._parameters, self._hints, complete or {}
        )
        self.definition = self.check(
            types.Prompt(
                name=self.name,
                title=or_unset(title),
                description=or_unset(description or self.description),
                arguments=[
                    PromptArgument(
                        name=parameter.name,
                        description=or_unset(
                            self.parameter_descriptions.get(parameter.name)
                        ),
                        required=parameter.default is parameter.empty,
                    )
                    for parameter in self._parameters.values()
                ]
                or UNSET,
                icons=or_unset(icons),
                meta=or_unset(meta),
            )
        )

    async def get(
        self, context: Context, arguments: Mapping[str, str]
    ) -> GetPromptResult:
        """Return the messages. Raise InvalidParams when an argument is missing, or is
        not what its annotation says; others are ignored."""
        keywords = self._convert(arguments)
        if self._context is not None:
            keywords[self._context] = context
        context.session.expire_after(
            self.timeout, context.request, InternalError("The prompt took too long")
        )
        try:
            value = await self.run(context, keywords)
        except ClientRefused as exc:
            raise ProtocolError(str(exc)) from None
        if isinstance(value, GetPromptResult):
            result = value
        else:
            result = GetPromptResult(
                messages=_to_messages(value), description=self.definition.description
            )
        # As clients will read it: a struct takes any value.
        return _decode_result(encode_value(result))

    def _convert(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        keywords = {}
        for name, parameter in self._parameters.items():
            if name in arguments:
                hint = self._hints.get(name, str)
                try:
                    keywords[name] = convert_value(arguments[name], hint, strict=False)
                except msgspec.ValidationError as exc:
                    raise InvalidParams(f"Argument {name!r}: {exc}") from None
            elif parameter.default is parameter.empty:
                raise InvalidParams(f"Argument {name!r} is required")
        return keywords


def _to_messages(value: Any) -> list[PromptMessage]:
    items = value if isinstance(value, list | tuple) else [value]
    return [_to_message(item) for item in items]


def _to_message(item: Any) -> PromptMessage:
    return (
        item
        if isinstance(item, PromptMessage)
        else PromptMessage("user", to_block(item))
    )


async def list_prompts(
    context: Context, params: PaginatedRequestParams
) -> SharedResult:
    """Answer prompts/list. Raise InvalidParams for a cursor not made here."""
    return context.session.catalogue.list_prompts(params.cursor)


def find_prompt(catalogue: "Catalogue", name: str) -> Prompt:
    """Return the prompt. Raise InvalidParams for one that does not exist."""
    prompt = catalogue.prompts.get(name)
    if prompt is None:
        raise InvalidParams(f"Unknown prompt: {name[:128]}")
    return prompt


async def get_prompt(
    context: Context, params: GetPromptRequestParams
) -> GetPromptResult:
    """Answer prompts/get. Raise InvalidParams for a prompt that does not exist."""
    prompt = find_prompt(context.session.catalogue, params.name)
    return await prompt.get(context, params.arguments or {})
