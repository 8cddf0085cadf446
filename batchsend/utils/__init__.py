"""Small helpers without any rule of texting: files, network, processes, signals, output, timestamps, wording.

Each module stands alone. They may import nothing of batchsend but `errors`, `exits`, `settings` and `statuses`.
"""
