"""Pixels to probabilities: ilastik's pixel features, its random forest, and prediction block by block."""
