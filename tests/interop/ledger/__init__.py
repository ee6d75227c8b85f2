"""A site that remembers how often each of its tools ran."""
