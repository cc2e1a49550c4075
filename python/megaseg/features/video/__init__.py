"""Features of films: extractors by name, and what a model reads of them."""
