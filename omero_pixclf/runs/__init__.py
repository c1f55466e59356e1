"""A run: its plan, the processing of its images, its state, and the results of its containers."""
