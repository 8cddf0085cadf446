"""The pages that people look at before and after sending: one self-contained HTML file each.

`preview_facts` and `report_facts` read; `preview_page` and `report_page` turn what was read into HTML.
"""
