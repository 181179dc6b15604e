"""Windows: not implemented; a stub that says so, and how to implement it."""
