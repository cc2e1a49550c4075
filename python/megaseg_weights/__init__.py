"""Networks that films and screenplays are measured with; only their files are read (``megaseg.weights``)."""
