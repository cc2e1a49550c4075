"""Whole catalogues: titles found in folders, Parquet lists and object storage, results kept in a folder."""
