"""The model as a graph of ops, and the exact passes that rewrite it."""
