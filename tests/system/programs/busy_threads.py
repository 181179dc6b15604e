"""Keep threads busy in frames whose variables say what the others are; dump when asked to.

busy_threads.py DIRECTORY

For each line of standard input it prints the path of a core, while the threads go on.
"""

import os
import sys
import threading

import gencore


def descend(number, text):
    double = 2 * number
    label = f"{number} {double}"
    if number:
        descend(number - 1, str(number - 1))
    return label, text


def descending():
    while True:
        descend(30, "30")


def looping():
    while True:
        for index in range(1 << 30):
            pair = (index, -index)
            mapping = {"index": index, "pair": pair}
            assert mapping["pair"] is pair


def counting():
    total = 0

    def add(amount):
        nonlocal total
        total += amount
        return total

    while True:
        add(3)


def generating():
    def generate():
        for value in range(1000):
            triple = value, value, value
            yield triple

    while True:
        for _ in generate():
            pass


functions = (descending, looping, counting, generating)
sys.setswitchinterval(1e-5)
for function in functions:
    threading.Thread(target=function, name=function.__name__, daemon=True).start()
for _ in sys.stdin:
    print(gencore.create_core(directory=sys.argv[1], content="private"), flush=True)
os._exit(0)  # the threads never end
