"""What records hold, counted and judged: for a reader who is about to train on them, and to trust the scores."""

from eokeras.ben_ge.inspection.inspector import Inspection, inspect

__all__ = ["Inspection", "inspect"]
