"""A run on disk: its folder, its lock, its checkpoints, and how a model is loaded from it or trained on.

How a model is trained is in `nmt.training`; what the commands do with a run is in `nmt.commands`.
"""
