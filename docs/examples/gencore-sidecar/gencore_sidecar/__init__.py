"""A backend for gencore that lets a sidecar make the core, and that sidecar."""
