"""The touchscreen: a Kivy client of the local API."""
