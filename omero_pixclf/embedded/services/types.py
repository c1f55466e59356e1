"""ITypes: the enumerations."""
