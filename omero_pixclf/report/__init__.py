"""Report of one container: HTML page, contact sheet, heat map and histograms."""
