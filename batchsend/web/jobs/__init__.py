"""Work that the web console runs in processes of its own, so that no list can hold up the pages.

`registry` starts and watches jobs, `process` is what runs in the child process, and `confirmation` binds a
confirmed number of texts to what was shown. `list_preview` and `list_process` read lists for the editor.
"""
