"""All objects at once: where they lie, of which types they are, how large. Needs numpy."""
