"""What people look at: the page, contact sheet, plots and model cards.

Every number comes from a file that another stage wrote; none is computed here.
"""
