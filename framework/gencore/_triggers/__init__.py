"""Triggers in the armed process: where they are set, what its agent gets, what needs Python."""
