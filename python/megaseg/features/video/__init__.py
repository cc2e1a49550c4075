"""Features of films."""
