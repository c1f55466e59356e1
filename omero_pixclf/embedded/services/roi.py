"""IRoi: regions of interest of an image."""
