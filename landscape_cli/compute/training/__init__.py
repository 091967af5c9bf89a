"""Training: streams, schedules, optimisers, the loop. A trainer yields states; whoever runs it saves them.

This module imports nothing, so that protocols and presets can be read without torch.
"""
