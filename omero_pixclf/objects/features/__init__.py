"""Features of objects for classification, equal to those of ilastik's default plug-ins."""
