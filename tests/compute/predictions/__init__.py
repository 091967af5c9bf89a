"""Prediction space: the computation against closed forms and dense float64 oracles."""
