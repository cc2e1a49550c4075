"""Training of the act task: synopsis model, synchronisation by EM, and knowledge transfer (supplementary, 4 and 5)."""
