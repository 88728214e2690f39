"""Open models: folders in the Hugging Face layout, read into the one transformer and written again.

`families.py` says what each family of models sets in it, `describe.py` reads a folder's
config.json, `layout.py` says which tensor is which parameter, `weights.py` reads safetensors files
straight to where parameters lie, and `export.py` writes a folder. Nothing in a folder is executed
or unpickled.
"""
