"""What the command line, OMERO script, watcher and Python API call: plan, execute, history, merge."""
