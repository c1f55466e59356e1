"""What a run will do: images, channels, shards, resources, workers."""
