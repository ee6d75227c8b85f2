"""Models as tools on PostgreSQL, with the fields that only it has."""
