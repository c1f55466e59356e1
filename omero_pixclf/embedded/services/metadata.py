"""IMetadata: annotations of objects, and what carries them."""
