"""The demo: simulated images with known truth, and ilastik projects trained on such images."""
