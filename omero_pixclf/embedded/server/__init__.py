"""The server process: its endpoint, its services' registry, sessions' factories, scripts' processors."""
