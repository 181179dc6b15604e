"""Confines the programs that read foreign cores: they read what they are given, and that is all.

`confining` has the order of the layers, `running` starts and watches a program. It needs only the
standard library: a program is confined by an interpreter that has loaded no package.
"""
