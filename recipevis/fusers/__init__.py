"""How a sentence and the previous image become condition tokens, a file a fuser (section 2, A.2).

A fuser knows tensors and its own options, and neither training nor sampling.
"""
