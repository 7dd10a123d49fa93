"""Where videos come from, a file a source.

A source declares its licence, sizes, checks and advice itself; nothing outside asks for its name.
"""
