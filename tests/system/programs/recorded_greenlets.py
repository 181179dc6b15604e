"""Have greenlets switch away in all kinds of functions, dump, print where each of them is.

recorded_greenlets.py DIRECTORY
"""

import json
import os
import sys

import gevent
import greenlet

import gencore


def away(depth):
    if depth:
        away(depth - 1)
    else:
        greenlet.getcurrent().parent.switch()


def in_recursion():
    away(50)


def through_c():
    return max([1], key=lambda _: list(map(away, [2])))


def in_generator():
    def generate():
        yield away(1)

    return [each for each in generate()]  # noqa: C416 - its frames are meant


def in_gevent():
    gevent.sleep(3600)


def frames_of(frame):
    frames = []
    while frame is not None:
        frames.append([frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno])
        frame = frame.f_back
    return frames


def started(function):
    new = greenlet.greenlet(function)
    new.switch()
    return new


suspended = [started(function) for function in (in_recursion, through_c, in_generator)]
suspended += [gevent.spawn(in_gevent) for _ in range(3)]
gevent.sleep(0)
shown = started(in_recursion)
suspended.append(shown)
assert shown.gr_frame.f_back  # greenlet prepares the frames of one that is looked at
others = {
    "running": greenlet.getcurrent(),
    "not started": greenlet.greenlet(in_recursion),
    "ended": started(lambda: None),
}
bundle = gencore.collect_core(directory=sys.argv[1], content="private")
told = {
    "bundle": str(bundle),
    "suspended": {id(each): frames_of(each.gr_frame) for each in suspended},
    "others": {name: id(each) for name, each in others.items()},
}
print(json.dumps(told), flush=True)
os._exit(0)
