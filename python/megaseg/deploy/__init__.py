"""Models from and for other systems: state dicts in, model repositories of inference servers out."""
