"""Windows: not implemented; says so, and how it would be done."""
