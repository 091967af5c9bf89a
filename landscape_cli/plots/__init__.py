"""Figures, from stored results only: nothing here computes what it shows. Needs the extra ``plot``."""
