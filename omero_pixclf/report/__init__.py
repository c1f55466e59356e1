"""The report, pictures and figures of a container's results."""
