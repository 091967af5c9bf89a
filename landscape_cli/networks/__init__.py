"""Networks: the architectures of the papers, a registry others can extend, and other people's own.

The registry (:mod:`landscape_cli.networks.registry`) knows names without importing torch.
"""
