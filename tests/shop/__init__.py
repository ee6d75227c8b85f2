"""Models of a shop, for the tests of models as tools."""
