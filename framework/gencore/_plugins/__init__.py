"""Installed plug-ins: what is there, what may be loaded, and what became of loading it."""
