"""ITimeline: what changed lately."""
