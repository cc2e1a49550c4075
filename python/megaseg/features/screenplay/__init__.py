"""Screenplays: parsing, blocks, and what their text says beyond its words."""
