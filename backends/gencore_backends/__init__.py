"""The backends that come with gencore, one folder per platform."""
