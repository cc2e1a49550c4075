"""Readers of metadata, one format a file: what each says of the pairs of some films."""
