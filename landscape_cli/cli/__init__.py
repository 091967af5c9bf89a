"""The face: commands that parse, load, compute, save and emit; no mathematics, and no torch before it is needed."""
