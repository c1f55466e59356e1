"""From probabilities to objects: threshold, label, measure, outline."""
