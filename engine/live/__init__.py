"""Shots as they come: streams, and the scheduler that batches the work of many callers."""
