"""Draws what a command printed as an SVG, for the pages that show it.

python docs/terminal_picture.py COMMAND < OUTPUT > PICTURE
"""

import sys
import unicodedata
from html import escape

_CHARACTER, _LINE, _MARGIN = 7.23, 17, 14
"""Pixels: of a letter in a font of 12 pixels, of a line, around all."""
_WIDEST = 110
"""Characters of a line; what is behind them is cut."""
_STYLE = """
    text { font: 12px ui-monospace, monospace; fill: #1f2328; white-space: pre }
    .ground { fill: #f6f8fa; stroke: #d0d7de }
    .command { font-weight: 600 } .problem { fill: #a02a2a; font-weight: 600 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .ground { fill: #161b22; stroke: #30363d } .problem { fill: #f0a29c }
    }
"""


def draw(command: str, printed: str) -> str:
    """Return the picture; its title, which is read aloud, is the command."""
    lines = [f"$ {command}", *printed.rstrip("\n").splitlines()]
    lines = [line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…" for line in lines]
    width = round(max(map(len, lines)) * _CHARACTER + 2 * _MARGIN)
    height = len(lines) * _LINE + 2 * _MARGIN
    rows = "\n".join(_row(number, line) for number, line in enumerate(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="t">\n  <title id="t">{escape(command)}, and what it prints</title>\n'
        f'  <style>{_STYLE}  </style>\n  <rect class="ground" x="0.5" y="0.5" '
        f'width="{width - 1}" height="{height - 1}" rx="6"/>\n{rows}\n</svg>\n'
    )


def _row(number: int, line: str) -> str:
    kind = "problem" if line.startswith("problem") else "" if number else "command"
    marked = f' class="{kind}"' if kind else ""
    visible = "".join(c for c in line if unicodedata.category(c) != "Cc")
    y = _MARGIN + _LINE * number + 12
    return f'  <text{marked} x="{_MARGIN}" y="{y}">{escape(visible)}</text>'


if __name__ == "__main__":
    sys.stdout.write(draw(sys.argv[1], sys.stdin.read()))
