"""Files that editors and players take, one format a module."""
