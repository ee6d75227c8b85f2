"""What `mcp_channels` costs: each module runs as `python -m benchmarks.<name>`."""
