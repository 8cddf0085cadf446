"""One module per list format. Each opens a file as a `Source`: numbered rows of cleaned text.

Start with `detect.detect`, which picks the format by the file's content.
"""
