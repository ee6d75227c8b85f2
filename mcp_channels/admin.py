"""The rows that say who may do what, in Django's admin."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from mcp_channels.models import AccessToken, Endpoint, PrimitiveSetting

__all__ = ["AccessTokenAdmin", "EndpointAdmin", "PrimitiveSettingAdmin"]


@admin.register(Endpoint)
class EndpointAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["__str__", "title", "enabled", "read_only", "allow_anonymous"]
    list_filter = ["enabled", "read_only", "allow_anonymous"]
    search_fields = ["slug", "title"]
    filter_horizontal = ["primitives"]


@admin.register(PrimitiveSetting)
class PrimitiveSettingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["key", "kind", "enabled", "permission", "missing_since"]
    list_filter = ["kind", "enabled", ("missing_since", admin.EmptyFieldListFilter)]
    search_fields = ["key", "title", "description"]
    readonly_fields = ["kind", "key", "missing_since"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows are made by themselves."""
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: PrimitiveSetting | None = None
    ) -> bool:
        """Without its row a primitive that was disabled would be enabled again."""
        is_gone = obj is not None and obj.missing_since is not None
        return is_gone and super().has_delete_permission(request, obj)


@admin.register(AccessToken)
class AccessTokenAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = [
        "name",
        "prefix",
        "user",
        "read_only",
        "expires_at",
        "last_used_at",
        "revoked_at",
    ]
    list_filter = ["read_only", ("revoked_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "prefix"]
    raw_id_fields = ["user"]
    readonly_fields = ["prefix", "created_at", "last_used_at", "revoked_at"]
    actions = ["revoke"]

    def get_readonly_fields(
        self, request: HttpRequest, obj: AccessToken | None = None
    ) -> Any:
        """A token stays its user's."""
        more = [] if obj is None else ["user"]
        return [*super().get_readonly_fields(request, obj), *more]

    def save_model(
        self, request: HttpRequest, obj: AccessToken, form: Any, change: bool
    ) -> None:
        """Give a new token its secret, and show it, this once."""
        secret = None if change else obj.renew_secret()
        super().save_model(request, obj, form, change)
        if secret is not None:
            messages.warning(
                request,
                _("Copy the token now, it is not shown again: %(secret)s")
                % {"secret": secret},
            )

    @admin.action(description=_("Revoke selected access tokens"))
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        """Let them be good for nothing any more."""
        for token in queryset:
            token.revoke()
