"""Who hears of a dump while it goes on: the callback of its caller, the log, OpenTelemetry."""
