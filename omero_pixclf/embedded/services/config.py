"""IConfig: the server's version, time, identity and settings."""
