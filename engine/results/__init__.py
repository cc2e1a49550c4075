"""Results: tracks of segments, their files, and their explanations."""
