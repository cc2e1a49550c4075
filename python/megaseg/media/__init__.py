"""Films: from a video file to what is measured of its frames and its sound, and to its shots."""
