"""Contrast of scenes that similar movies share (Chen et al., CVPR 2023, supplementary 1.1 c): MoCo over mined pairs."""
