"""Linux: a snapshot by bare clone, whose core the kernel writes."""
