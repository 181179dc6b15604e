"""The basis of a dump: the operating system's threads and locks, signals, and process exit.

They are the real ones, even if gevent or eventlet has patched the standard ones.
"""
