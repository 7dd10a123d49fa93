"""What people look at: the page, contact sheet, plots, model card, storyboard.

Every number comes from a file that another stage wrote; none is computed here.
"""
