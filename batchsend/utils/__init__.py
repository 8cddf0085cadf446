"""Small helpers that know nothing of texting: files, network addresses, processes, signals, timestamps, wording."""
