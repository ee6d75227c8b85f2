from django.apps import AppConfig


class AtlasConfig(AppConfig):
    name = "project.atlas"
    verbose_name = "Atlas"
