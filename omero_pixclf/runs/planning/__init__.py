"""Plan a run: images, channels, shards, resources, workers."""
