"""A library with models as tools, and with one tool by hand; see benchmarks.models."""
