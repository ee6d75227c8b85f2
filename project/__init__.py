"""
The demo site: an atlas of countries and cities that agents travel with.

Start it with `python -m project.demo`.
"""
