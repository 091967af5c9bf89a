"""The measurements: pure torch, tensors and modules in, tensors or small frozen dataclasses out.

Nothing in this room reads or writes a file, prints, or knows the command line; it imports no other room.
"""
