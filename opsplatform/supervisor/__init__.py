"""One plane on this machine: starts the Procfile's processes, starts again what dies, and leaves nothing running.

`python -m opsplatform.supervisor up|down|reset`. Owns OPS_HOME/run and the processes it started; knows nothing of jobs.
A loop of our own since the known Procfile runners stop everything when one process dies, and a plane whose Flower
died must go on.
"""
