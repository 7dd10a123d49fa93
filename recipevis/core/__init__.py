"""Files, work folders, progress, processes, devices, the stage runner: no result depends on them.

Code that can change a result belongs in another folder.
"""
