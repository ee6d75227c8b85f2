import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import mcp_channels.validators


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AccessToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("name", models.CharField(help_text="What it is for.", max_length=100)),
                ("prefix", models.CharField(editable=False, max_length=20)),
                (
                    "digest",
                    models.CharField(editable=False, max_length=64, unique=True),
                ),
                (
                    "previous_digest",
                    models.CharField(
                        blank=True,
                        editable=False,
                        max_length=64,
                        null=True,
                        unique=True,
                    ),
                ),
                (
                    "previous_expires_at",
                    models.DateTimeField(blank=True, editable=False, null=True),
                ),
                (
                    "endpoints",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Slugs of endpoints that it is for. Empty: for all.",
                        validators=[mcp_channels.validators.validate_slugs],
                    ),
                ),
                (
                    "read_only",
                    models.BooleanField(
                        default=False,
                        help_text="Tools that are not declared read-only are hidden.",
                    ),
                ),
                (
                    "patterns",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text='Names of tools and prompts and URIs of resources that it is for, such as ["count_*", "shop://*"]. Empty: for all.',
                        validators=[mcp_channels.validators.validate_names],
                    ),
                ),
                (
                    "rate",
                    models.CharField(
                        blank=True,
                        help_text="Calls, such as 60/minute. Empty: no limit.",
                        max_length=40,
                        validators=[mcp_channels.validators.validate_rate],
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, editable=False
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(
                        blank=True, help_text="Empty: never.", null=True
                    ),
                ),
                (
                    "last_used_at",
                    models.DateTimeField(blank=True, editable=False, null=True),
                ),
                (
                    "revoked_at",
                    models.DateTimeField(blank=True, editable=False, null=True),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="mcp_access_tokens",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "access token",
                "verbose_name_plural": "access tokens",
                "ordering": ["-created_at", "-pk"],
            },
        ),
        migrations.CreateModel(
            name="PrimitiveSetting",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("tool", "tool"),
                            ("prompt", "prompt"),
                            ("resource", "resource"),
                            ("resource template", "resource template"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        help_text="The name, or the URI of a resource.", max_length=500
                    ),
                ),
                (
                    "enabled",
                    models.BooleanField(
                        default=True,
                        help_text="Without it the primitive exists for nobody.",
                    ),
                ),
                (
                    "title",
                    models.CharField(
                        blank=True,
                        help_text="Instead of the code's; for people.",
                        max_length=200,
                    ),
                ),
                (
                    "description",
                    models.TextField(
                        blank=True, help_text="Instead of the code's; for models."
                    ),
                ),
                (
                    "permission",
                    models.CharField(
                        blank=True,
                        help_text="Needed besides what the code requires: app_label.codename.",
                        max_length=200,
                        validators=[mcp_channels.validators.validate_permission],
                    ),
                ),
                (
                    "groups",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Names of groups; one of them is needed. Empty: none is.",
                        validators=[mcp_channels.validators.validate_names],
                    ),
                ),
                ("staff_only", models.BooleanField(default=False)),
                (
                    "rate",
                    models.CharField(
                        blank=True,
                        help_text="Calls of one identity, such as 60/minute. Empty: no limit.",
                        max_length=40,
                        validators=[mcp_channels.validators.validate_rate],
                    ),
                ),
                (
                    "timeout",
                    models.FloatField(
                        blank=True,
                        help_text="Seconds. Empty: as the code says.",
                        null=True,
                    ),
                ),
                (
                    "missing_since",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="Since when no code offers it; empty while some does.",
                        null=True,
                    ),
                ),
            ],
            options={
                "verbose_name": "primitive",
                "verbose_name_plural": "primitives",
                "ordering": ["kind", "key"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "key"), name="mcp_channels_primitive_unique"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("timeout__isnull", True),
                            ("timeout__gt", 0),
                            _connector="OR",
                        ),
                        name="mcp_channels_primitive_timeout",
                        violation_error_message="A timeout is more than 0 seconds.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Ticket",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("session_key", models.TextField(blank=True)),
                ("expires_at", models.DateTimeField(db_index=True)),
                (
                    "token",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="mcp_channels.accesstoken",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "ticket",
                "verbose_name_plural": "tickets",
            },
        ),
        migrations.CreateModel(
            name="Endpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "slug",
                    models.SlugField(
                        blank=True,
                        help_text="The last part of the path. Empty: the default endpoint.",
                        unique=True,
                    ),
                ),
                (
                    "title",
                    models.CharField(
                        blank=True,
                        help_text="For people. Empty: the setting's.",
                        max_length=200,
                    ),
                ),
                (
                    "instructions",
                    models.TextField(
                        blank=True, help_text="For models. Empty: the setting's."
                    ),
                ),
                (
                    "website_url",
                    models.CharField(
                        blank=True,
                        help_text="Where people find more. Empty: the setting's.",
                        max_length=200,
                        validators=[
                            django.core.validators.URLValidator(["https", "http"])
                        ],
                    ),
                ),
                (
                    "icons",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text='Such as [{"src": "https://example.com/icon.png"}].',
                        validators=[mcp_channels.validators.validate_icons],
                    ),
                ),
                (
                    "enabled",
                    models.BooleanField(
                        default=True,
                        help_text="Without it nothing is served at this path.",
                    ),
                ),
                (
                    "selection",
                    models.CharField(
                        choices=[
                            ("all", "all"),
                            ("chosen", "those chosen below"),
                            ("tagged", "those with one of the tags below"),
                        ],
                        default="all",
                        max_length=10,
                    ),
                ),
                (
                    "tags",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Of tools, prompts and resources, as their code has them.",
                        validators=[mcp_channels.validators.validate_names],
                    ),
                ),
                (
                    "read_only",
                    models.BooleanField(
                        default=False,
                        help_text="Tools that are not declared read-only are hidden.",
                    ),
                ),
                (
                    "page_size",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Items of a list page. Empty: the setting's.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "allow_anonymous",
                    models.BooleanField(
                        default=False,
                        help_text="Whether somebody may connect without credentials.",
                    ),
                ),
                (
                    "groups",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Names of groups; one of them is needed. Empty: none is.",
                        validators=[mcp_channels.validators.validate_names],
                    ),
                ),
                ("staff_only", models.BooleanField(default=False)),
                (
                    "rate",
                    models.CharField(
                        blank=True,
                        help_text="Calls of all together, such as 600/minute. Empty: no limit.",
                        max_length=40,
                        validators=[mcp_channels.validators.validate_rate],
                    ),
                ),
                (
                    "identity_rate",
                    models.CharField(
                        blank=True,
                        help_text="Calls of one identity, such as 60/minute. Empty: no limit.",
                        max_length=40,
                        validators=[mcp_channels.validators.validate_rate],
                    ),
                ),
                (
                    "max_connections",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Of one identity. Empty: no limit.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "audit",
                    models.CharField(
                        choices=[
                            ("off", "nothing"),
                            ("metadata", "who called what, and the outcome"),
                            ("arguments", "the arguments too, without secrets"),
                            ("strict", "the arguments too, before the answer leaves"),
                        ],
                        default="metadata",
                        max_length=10,
                    ),
                ),
                (
                    "primitives",
                    models.ManyToManyField(
                        blank=True,
                        related_name="endpoints",
                        to="mcp_channels.primitivesetting",
                    ),
                ),
            ],
            options={
                "verbose_name": "endpoint",
                "verbose_name_plural": "endpoints",
                "ordering": ["slug"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("page_size__isnull", True),
                            ("page_size__gt", 0),
                            _connector="OR",
                        ),
                        name="mcp_channels_endpoint_page_size",
                    )
                ],
            },
        ),
    ]
