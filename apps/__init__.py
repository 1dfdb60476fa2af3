"""The domain: one app a subject; calls go down the layers, events go up."""
