"""Images larger than memory: block by block, and put together."""
