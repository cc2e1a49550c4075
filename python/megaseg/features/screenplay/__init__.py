"""Screenplays: parsing, blocks, and features of their text, cast and rhythm."""
