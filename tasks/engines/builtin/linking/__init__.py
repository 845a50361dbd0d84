"""Track following in the co-rotating plane: the kernels below cluster_and_link."""
