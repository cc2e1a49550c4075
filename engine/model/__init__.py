"""Models: checkpoints, the config that all families share, and one module a family."""
