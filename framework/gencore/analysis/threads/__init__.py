"""Threads: their stacks, the values in their frames, and the requests that they work on."""
