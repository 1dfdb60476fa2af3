"""How values are written on pages (Django's FORMAT_MODULE_PATH); a folder a language."""
