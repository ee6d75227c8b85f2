"""The app whose tools are called."""
