"""The options of a pipeline and of its plug-ins: their sources, types and checks."""
