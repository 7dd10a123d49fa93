"""Measuring generated images: the registry of metrics, the baselines, the scores of each image, the intervals.

How numbers are shown belongs in `report`; what generates images belongs in `sampling`.
"""
