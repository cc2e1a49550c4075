"""Scene models: windows of shots, each row of which is labelled as the last of its scene or not."""
