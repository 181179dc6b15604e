"""Deliver the events of a dump: to the caller's callback, the log, OpenTelemetry."""
