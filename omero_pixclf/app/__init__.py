"""What the doors call: plan, execute, history, merge."""
