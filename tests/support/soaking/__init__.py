"""A dealership whose campaigns run unattended for weeks of virtual time, with everything that can go wrong.

Begin with `story.py`, which plays the weeks. `machine.py` is the computer: real processes in virtual time, which are
really killed. `api.py` is the server that they send to, `dealership.py` the campaigns and their lists. `oracle.py`
judges what happened by its own rules; it uses no code of the product.
"""
