"""A service with several faces: for gunicorn, uvicorn and Celery, as a pool and as a script.

What it is asked is a word, which comes back: "hold" when there is a file `released`, "backtrack"
never. The file `held` names the process that has been asked one of these.
"""

import multiprocessing
import os
import re
import sys
from pathlib import Path


def answer(word):
    """Return the word."""
    if word in {"hold", "backtrack"}:
        Path("holding").write_text(str(os.getpid()))
        Path("holding").rename("held")
    if word == "backtrack":
        re.match("(a|a?)+$", "a" * 40 + "b")  # keeps the GIL, and looks at no signal
    while word == "hold" and not os.path.exists("released"):  # noqa: PTH110 - it spins
        pass
    return word


def wsgi(environ, start_response):
    """Answer as gunicorn asks."""
    body = answer(environ["PATH_INFO"].removeprefix("/")).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    """Answer as uvicorn asks."""
    if scope["type"] == "http":
        await receive()
        body = answer(scope["path"].removeprefix("/")).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def main():
    """Answer line by line: in this process, or with "pool" in one of a pool."""
    asked = (line.rstrip("\n") for line in sys.stdin)
    if sys.argv[1:] == ["pool"]:
        with multiprocessing.Pool(2) as pool:
            for line in asked:
                print(pool.apply(answer, [line]), flush=True)
    else:
        for line in asked:
            print(answer(line), flush=True)


if __name__ == "__main__":
    main()
