"""Pages for people: a search tree, and a report of runs side by side.

`inspect.py` grows a tree and `tree_page.py` writes its page; `report.py` collects what runs have
measured, `report_page.py` and `report_picture.py` show it.
"""
