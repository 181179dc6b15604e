"""The collectors and destinations that come with gencore."""
