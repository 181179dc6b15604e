"""Confines the programs that read foreign cores: they read what they are given, and do nothing else.

`confining` has the order of the layers, `running` starts and watches a program. All of it needs the
standard library alone: a program is confined by an interpreter that has loaded no package.
"""
