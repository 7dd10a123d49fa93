"""Fine-tuning: the batches, the losses, and the loop over steps.

The model itself, which sampling shares, is in `model`.
"""
