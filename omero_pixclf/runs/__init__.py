"""A run: plan, one image from start to end, many images, the report."""
