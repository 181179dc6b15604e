"""The references between all objects: what refers to one, holds it, leads to it. Needs numpy."""
