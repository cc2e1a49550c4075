"""One case a file; each has ``run() -> list[Row]``. The kernels' cases carry the ops' names."""
