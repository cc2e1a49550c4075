"""Recipes: configuration, data, models, objectives and the order of training them; one module or folder a command."""
