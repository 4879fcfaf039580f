"""engram: which training examples has a generative model memorized, how surely, and does the usual test see it?"""

__version__ = "0.1.0"
