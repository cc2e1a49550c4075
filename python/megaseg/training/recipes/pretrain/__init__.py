"""Pretraining on films without labels: contextualizers by masked prediction, long-range models by three losses."""
