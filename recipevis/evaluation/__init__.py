"""Metrics, baselines, scores and intervals.

How numbers are shown belongs in `report`.
"""
