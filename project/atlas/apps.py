from django.apps import AppConfig


class AtlasConfig(AppConfig):
    name = "project.atlas"
    verbose_name = "Atlas"

    def ready(self) -> None:
        """Connect the signals of the trips to those who watch them."""
        from project.atlas import news  # noqa: F401
