"""What commands ask of a core: a module for each question, whose `answer` returns JSON types.

`python -m gencore.analysis.answers` runs one of them in a process of its own: a hostile core may
make it compute for long or need much memory, within the limits of that process.
"""
