"""Triggers in the armed process: what its agent is given, and what it needs Python for."""
