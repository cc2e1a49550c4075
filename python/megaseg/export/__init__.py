"""Into and out of megaseg: torch state dicts to checkpoints, results to pictures."""
