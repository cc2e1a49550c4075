"""Tasks: from a model's outputs to scores and decisions, one module a task."""
