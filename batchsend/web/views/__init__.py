"""The pages of the web console, a module for each page.

Each view reads the request, calls the Python API or starts a job, and renders a template from `web/templates`. Begin
with `campaigns`, the first page. Views hold no rules about who gets a text.
"""
