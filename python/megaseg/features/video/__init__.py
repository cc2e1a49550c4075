"""Features of films: what a recording measured, averaged over shots, and the recipes that models read."""
