"""``python -m kiosk --socket PATH``: the touchscreen of the appliance."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path

from kiosk.client import RUN, Client
from kiosk.controller import Controller
from kiosk.fonts import FontError, find_fonts
from kiosk.watchdog import Watchdog


def main(arguments: list[str] | None = None) -> int:
    """Run the kiosk until its window is closed.

    Returns:
        Exit status: 0, or 2 when it cannot start.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "coronet-kiosk"
    try:
        fonts = find_fonts(cache / "fonts")
    except (FontError, OSError) as error:
        sys.stderr.write(f"kiosk: no Chinese font: {error}\n")
        return 2
    _prepare_kivy(cache / "kivy", size=options.size, fullscreen=options.fullscreen, show_cursor=not options.hide_cursor)
    # Kivy reads its environment and opens the display when it is imported, so its importers come after the preparation
    from kiosk.announce import Announcer
    from kiosk.app import KioskApp

    client = Client(socket=options.socket, run=options.run)
    controller = Controller(
        client=client, clock=time.monotonic, wall_clock=time.time, language=options.language, idle_lock_s=options.idle_lock
    )
    announcer = Announcer(options.announce) if options.announce else None
    client.start()
    app = KioskApp(controller=controller, fonts=fonts, watchdog=Watchdog(clock=time.monotonic), announcer=announcer, on_end=client.stop)
    app.run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kiosk", description="The touchscreen of the appliance.")
    parser.add_argument("--socket", type=Path, required=True, help="the appliance's API socket")
    parser.add_argument("--language", choices=("zh", "en"), default="zh", help="language at the start (default: zh)")
    parser.add_argument("--size", type=_size, default=(1280, 800), metavar="WxH", help="window size (default: 1280x800)")
    parser.add_argument("--fullscreen", action="store_true", help="fill the screen")
    parser.add_argument("--hide-cursor", action="store_true", help="no mouse pointer, for a touchscreen")
    parser.add_argument("--idle-lock", type=float, metavar="SECONDS", help="lock after so long without a touch (default: site policy)")
    parser.add_argument("--run", type=Path, default=RUN, help="where the box's start leaves what stopped it (default: /run)")
    parser.add_argument("--announce", type=Path, metavar="FILE", help="write where everything on the screen is (tests and demo only)")
    return parser


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 640 and int(height) >= 400):
        raise argparse.ArgumentTypeError("WxH in pixels, at least 640x400")
    return int(width), int(height)


def _prepare_kivy(home: Path, *, size: tuple[int, int], fullscreen: bool, show_cursor: bool) -> None:
    """Settle Kivy before its window opens: its own folder, no options of its own, no mouse-made second touches."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(KIVY_HOME=str(home), KIVY_NO_ARGS="1", KIVY_NO_FILELOG="1", KIVY_NO_CONFIG="1")
    os.environ["KIVY_LOG_MODE"] = "PYTHON"  # Kivy leaves the process's logging alone
    from kivy.config import Config

    graphics = {
        "width": size[0],
        "height": size[1],
        "borderless": 1,
        "resizable": 0,
        "fullscreen": "auto" if fullscreen else 0,
        "position": "custom",
        "left": 0,
        "top": 0,
        "multisamples": 0,
        "maxfps": 60,
        "show_cursor": int(show_cursor),
    }
    for key, value in graphics.items():
        Config.set("graphics", key, str(value))
    for name, _ in Config.items("input"):
        Config.remove_option("input", name)
    Config.set("input", "mouse", "mouse,disable_multitouch")
    Config.set("kivy", "exit_on_escape", "0")
    Config.set("kivy", "desktop", "0")
    Config.set("kivy", "log_level", "warning")


if __name__ == "__main__":
    sys.exit(main())
