"""What ``gencore doctor`` looks at: a table of checks, each of which yields rows."""
