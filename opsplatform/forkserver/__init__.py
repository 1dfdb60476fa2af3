"""The fork server: one process that has loaded the plane's code, and becomes any of its loops by forking.

Loading the code takes each loop seconds of a processor and 100 MiB; forked, they share both. It holds no thread, no
connection and no work of its own, and whoever it forked does not need it any more: it may be killed at any time.
Linux only; elsewhere, and whenever it is not there, the supervisor starts each loop by its Procfile line.
"""
