"""Tangent space: kernels of the logits' gradients, distances between them, linearised training."""
