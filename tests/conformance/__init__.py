"""
A site that offers something of everything, for suites that judge servers by it.

Serve it with `scripts/conformance-server PORT`. What it offers is in `tools`,
`questions`, `resources` and `prompts`; all of it is registered with `registry`.
"""
