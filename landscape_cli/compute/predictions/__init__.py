"""Prediction space: distances between models as distributions, geodesics, progress, trajectories, embeddings."""
