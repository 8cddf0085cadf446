"""One module per list format. Each turns a file into a `Source`: numbered rows of cleaned text."""
