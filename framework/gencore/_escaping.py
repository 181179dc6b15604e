"""Spells out what a text of unknown origin would do to a terminal, or hide from a reader."""

__all__ = ["escape_unprintable"]


def escape_unprintable(text: str) -> str:
    """Show control characters, marks that turn text around, and lone surrogates as escapes."""
    return text if text.isprintable() else "".join(map(_spell_out, text))


def _spell_out(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "surrogatepass").decode()
