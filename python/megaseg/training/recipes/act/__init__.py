"""Act models: a synopsis model, its synchronisation with the movie, and the distillation into a model of scenes."""
