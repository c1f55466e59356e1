"""Demo: simulated images with known objects, and ilastik projects trained on such images."""
