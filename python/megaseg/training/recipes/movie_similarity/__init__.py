"""Similarity of movies learnt from what metadata says of pairs (Chen et al., CVPR 2023, supplementary 1.1 b)."""
