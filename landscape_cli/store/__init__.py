"""What lies on disk, and nothing else: runs, checkpoints, resume states, metrics, records.

No module here imports torch when it is loaded, so that reading a header or a run's description is instant.
"""
