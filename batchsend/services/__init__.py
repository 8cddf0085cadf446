"""The services, which run until they are stopped: the scheduler, the receiver of delivery updates and the worker.

Begin with `scheduler`, `callbacks` or `worker`. Services send runs as the command line does, and know nothing of
terminals or web pages.
"""
