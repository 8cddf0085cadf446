"""What runs on and on: the scheduler, the receiver of delivery updates and the worker.

Begin with `scheduler`, `callbacks` or `worker`. Each service starts the same runs as the command line does.
"""
