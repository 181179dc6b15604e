"""The collectors that come with gencore, one module each."""
