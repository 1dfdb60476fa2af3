"""Definition folders: from files on a disk to a `Definition`, or to everything that is wrong with them."""
