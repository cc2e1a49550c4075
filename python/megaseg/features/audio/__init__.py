"""Sound of films: what is measured of it, and what is said."""
