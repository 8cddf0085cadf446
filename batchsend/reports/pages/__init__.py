"""The pages that people read before and after sending: one self-contained HTML file each.

Begin with `preview` and `report`: each reads a plan or a run once and fills its template in `templates/`. `html` has
what both pages share. The console shows parts of the same pages.
"""
