"""Linux: a snapshot by bare clone; the clone itself, or the kernel, writes its core."""
