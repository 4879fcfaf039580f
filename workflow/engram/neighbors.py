"""The nearest-neighbour test under its public name: `engram.neighbors.distance_ratio`."""

from engram.analyses.neighbors import distance_ratio, nearest

__all__ = ["distance_ratio", "nearest"]
