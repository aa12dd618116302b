"""Rooms of the ben-ge simulator; `eokeras.ben_ge.simulator` is the door."""
