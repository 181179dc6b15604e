"""Single objects: what each is, what it has, and how Python would show it."""
