"""Fine-tuning: what a step is fed, and the loop over steps.

The model and its losses are in `model`.
"""
