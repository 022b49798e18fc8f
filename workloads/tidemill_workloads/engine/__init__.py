"""The row engine: what answers one row. An interface, vLLM behind it, and nothing of chunks, files or Ray."""
