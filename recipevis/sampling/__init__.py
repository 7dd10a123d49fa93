"""Generating images with a trained model: guidance, the pipeline, whole recipes.

Measuring them belongs in `evaluation`.
"""
