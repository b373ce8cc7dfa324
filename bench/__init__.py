"""The project's own yardstick; `script/bench` runs it, its parts are listed in __main__.py."""
