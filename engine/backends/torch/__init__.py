"""The graph in plain torch: the meaning of every op."""
