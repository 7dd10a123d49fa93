"""Where videos come from: one file a source, named by `dataset.source`, with one subclass of `base.Source` in it.

A source fetches a video and says everything that differs between sources. How fetched videos are kept is `data.store`'s.
"""
