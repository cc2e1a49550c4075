"""From a source to a result: shots, features, models."""
