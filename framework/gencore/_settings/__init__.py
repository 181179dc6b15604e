"""The options of a pipeline: what they are, and where those come from that nobody gave."""
