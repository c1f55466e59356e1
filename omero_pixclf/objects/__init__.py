"""Maps to objects: threshold, label, outline, measure."""
