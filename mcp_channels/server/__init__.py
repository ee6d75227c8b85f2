"""
What the site answers: the registry of its primitives, and what becomes of a request.

No Channels and no models here; the wire is below, in `protocol`.
"""
