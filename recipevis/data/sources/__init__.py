"""Where videos come from: one file a source, named by `dataset.source`, with one subclass of `base.Source` in it.

A source fetches videos and says everything in which sources differ. `data.store` keeps what they fetch.
"""
