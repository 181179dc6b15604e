"""The stages of a dump as a process of its own, the recorder, and what its target knows of it."""
