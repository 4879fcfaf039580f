"""The figures of the report, one module each: a function of artifacts that returns a matplotlib Figure.

Colours mean the same everywhere, see `engram.figures.style`.
"""
