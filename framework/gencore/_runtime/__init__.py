"""What a dump stands on: the operating system's threads and locks, signals, and the process's end.

The real ones, whatever gevent or eventlet has put in their place.
"""
