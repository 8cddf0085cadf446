"""The pages of the web console, a module for each page.

Each view reads the request, asks the Python API or a job, and renders a template from `web/templates`.
"""
