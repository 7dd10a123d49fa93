"""Sentences and frames, embedded once: one module writes the cache, another reads it."""
