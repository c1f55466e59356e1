"""Pixels to probabilities: ilastik's features, its random forest, and both over tiles."""
