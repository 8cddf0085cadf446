"""Small helpers without any rule of texting: files, network addresses, processes, signals, timestamps, wording.

Each module stands alone. They may import nothing of batchsend but `errors`, `exits`, `settings` and `statuses`.
"""
