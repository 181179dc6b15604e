"""Which Python a dumped process had, and where its memory, layouts and threads are."""
