"""macOS: a fork that aborts."""
