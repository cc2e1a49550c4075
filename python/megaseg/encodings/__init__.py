"""Text files in any encoding."""
