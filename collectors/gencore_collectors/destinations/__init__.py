"""The destinations that come with gencore."""
