from django.apps import AppConfig


class PostgresConfig(AppConfig):
    name = "tests.postgres"
    label = "postgres_tests"  # "postgres" is that of django.contrib.postgres
