"""megaseg.engine: features in, scenes and acts out, whichever backend runs the model."""
