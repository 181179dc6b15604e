"""Locks: who waits for them, who holds them, and who waits for each other."""
