"""`make demo`: a plane of its own, an example on real data, told as it happens, every step of it checked.

Talks to the plane as a module would: HTTP with tokens, files in the tenant's own storage, the event stream. Only to
check what it was told does it look into the database. Imports no models.
"""
