#!/usr/bin/env python3
"""Loads the trace page in a headless Chromium, and uses it.

html_browser_test.py MAKE_VIEWS PROGRAM [--screenshots DIR]

Exits with 77 (skipped) where there is no Chromium; CHROMIUM names one.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import chromium

# Of the whole token and of views into it, with no GPU: the page feels smooth
# below 33; the rest is for slow machines that do something else besides.
MAX_MEDIAN_FRAME_MS = 100

FIND = """(() => {
  for (let e = 0; e < mkvmViewer.numEvents; ++e) {
    const d = mkvmViewer.describeEvent(e);
    if (d.label === '%s' && d.pass === %d) return {index: e, ...d};
  }
  return null;
})()"""
# How many pixels of the rows are near the colour.
COUNT = """(() => {
  const c = document.getElementById('%s');
  const top = Math.round(mkvmViewer.layout.top * mkvmViewer.layout.ratio);
  const data = c.getContext('2d').getImageData(
      0, top, c.width, c.height - top).data;
  const [r, g, b] = %s;
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] > 200 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g)
        + Math.abs(data[i + 2] - b) < 24) ++count;
  }
  return count;
})()"""
GEMV = "[213, 94, 0]"  # CATEGORY_COLORS[1]: the program's second opcode
PATH = "[17, 17, 17]"  # --path in the light theme


class Test:
    def __init__(self, page, shots):
        self.page = page
        self.shots = shots

    def check(self, holds, what):
        if not holds:
            if self.shots:
                self.page.screenshot(str(self.shots / "failed.png"))
            sys.exit(f"FAILED: {what}")

    def shot(self, name):
        self.page.frames()
        if self.shots:
            self.page.screenshot(str(self.shots / f"{name}.png"))

    def frame_ms(self, action, count=30):
        """Median of frames that `action(i)` asks for."""
        times = []
        for i in range(count):
            action(i)
            times.append(self.page.run("mkvmViewer.drawNow()"))
        return statistics.median(times)

    def speed(self):
        page = self.page
        begin, end = page.run(
            "[mkvmViewer.view.begin, mkvmViewer.view.end]")
        whole = self.frame_ms(lambda i: None)

        def zoom(i):
            page.run(f"mkvmViewer.zoomTo({begin}, "
                     f"{begin + (end - begin) * 0.85 ** i})")

        def pan(i):
            step = (end - begin) / 40
            page.run(f"mkvmViewer.zoomTo({begin + i * step}, "
                     f"{begin + (i + 10) * step})")
        page.run("mkvmViewer.setPath(true)")
        zoomed, panned = self.frame_ms(zoom), self.frame_ms(pan)
        page.run("mkvmViewer.setPath(false)")
        page.run("mkvmViewer.fit()")
        print(f"median frame: whole token {whole:.1f} ms, zooming "
              f"{zoomed:.1f} ms, panning {panned:.1f} ms")
        self.check(max(whole, zoomed, panned) < MAX_MEDIAN_FRAME_MS,
                   f"a frame takes longer than {MAX_MEDIAN_FRAME_MS} ms")

    def load(self, num_events):
        page = self.page
        self.check(page.run("mkvmViewer.numEvents") == num_events,
                   "the page does not hold all events")
        page.frames(3)
        stats = page.run("mkvmViewer.stats")
        self.check(stats["visibleEvents"] == num_events,
                   f"only {stats['visibleEvents']} events are in sight")
        self.check("tokens/s" in page.run(
            "document.getElementById('summary').textContent"), "no tokens/s")
        self.shot("whole_token")

    def hover(self):
        page = self.page
        event = page.run(FIND % ("L03.down[40]", 0))
        self.check(event is not None, "no L03.down[40]")
        page.run(f"mkvmViewer.zoomTo({event['begin']} - 4000, "
                 f"{event['end']} + 4000)")
        page.run("mkvmViewer.setRowHeight(18)")
        page.run(f"mkvmViewer.pin({event['index']}, true)")
        page.frames()
        point = page.run(f"mkvmViewer.pointOfEvent({event['index']})")
        page.mouse("mouseMoved", point["x"], point["y"])
        self.shot("hover")
        tip = page.run("document.getElementById('tip').innerText")
        for part in ("L03.down[40]", event["text"],
                     f"worker {event['worker']},",
                     "w=model.layers.3.mlp.down_proj.weight",
                     "wait(L03.h tagged", "compute", "waits for L03.h", "last L03.gate_up[",
                     "first weight copy issued", "bytes"):
            self.check(part in tip, f"the tip lacks '{part}': {tip}")
        page.click(point["x"], point["y"])
        pinned = page.run("document.getElementById('pinned').innerText")
        self.check(event["text"] in pinned, f"not pinned: {pinned}")
        # A producer is a link.
        page.run("document.querySelector('#pinned button').click()")
        page.frames()
        pinned = page.run("document.getElementById('pinned').innerText")
        self.check(pinned.startswith("L03.gate_up["), f"no link: {pinned}")
        page.key("Escape")
        self.check(page.run("mkvmViewer.view.pinned") == -1, "still pinned")
        page.mouse("mouseMoved", 2, 2)
        self.check(page.run("document.getElementById('tip').hidden"),
                   "the tip stays")
        page.run("mkvmViewer.fit()")

    def filters(self):
        page = self.page
        page.run("mkvmViewer.setMode('opcode')")
        page.run("mkvmViewer.drawNow()")
        self.shot("opcodes")
        before = page.run(COUNT % ("base", GEMV))
        drawn = page.run("mkvmViewer.stats.drawnEvents")
        self.check(before > 1000, f"{before} pixels of gemv")
        button = "document.querySelector('#legend [data-name=gemv]')"
        box = page.run(f"(() => {{ const b = {button}"
                       ".getBoundingClientRect(); return [b.x, b.y]; })()")
        page.click(box[0] + 20, box[1] + 8)
        page.run("mkvmViewer.drawNow()")
        self.check(page.run(f"{button}.ariaPressed") == "false", "not pressed")
        self.check(page.run(COUNT % ("base", GEMV)) < before / 20,
                   "hidden gemv is drawn")
        self.check(page.run("mkvmViewer.stats.drawnEvents") < drawn,
                   "no event is hidden")
        page.run("mkvmViewer.setHidden('opcode', 'gemv', false)")
        page.run("mkvmViewer.setMode('state')")

    def path(self):
        page = self.page
        page.run("mkvmViewer.setPath(false); mkvmViewer.drawNow()")
        before = page.run(COUNT % ("overlay", PATH))
        page.run("document.getElementById('path').click()")
        page.run("mkvmViewer.drawNow()")
        after = page.run(COUNT % ("overlay", PATH))
        self.check(after > before + 1000, f"no path: {before}, {after} pixels")
        steps = page.run("mkvmViewer.tokens[0].events.length")
        self.check(steps > 100 and
                   page.run("mkvmViewer.stats.pathSteps") == steps,
                   "not all of the path's steps are drawn")
        self.check("hops" in page.run(
            "document.getElementById('status').textContent"), "no hops")
        self.shot("path")
        page.run("mkvmViewer.setPath(false)")

    def search(self):
        page = self.page
        page.run("(() => { const s = document.getElementById('search');"
                 "s.value = 'L07.gate_up'; s.dispatchEvent(new Event('input'));"
                 "})()")
        self.check(page.run("document.getElementById('found').textContent")
                   == "128 instructions found", "L07.gate_up is not found")
        self.shot("search")
        page.run("mkvmViewer.setQuery('')")

    def input(self):
        """Wheel, drag and keys change what is in sight."""
        page = self.page
        page.run("mkvmViewer.fit()")
        page.frames()
        view = "[mkvmViewer.view.begin, mkvmViewer.view.end]"
        whole = page.run(view)
        page.mouse("mouseWheel", 700, 500, deltaX=0, deltaY=-400)
        page.frames()
        near = page.run(view)
        self.check(near[0] > whole[0] and near[1] < whole[1],
                   "the wheel does not zoom in")
        page.mouse("mousePressed", 700, 500, button="left", clickCount=1)
        page.mouse("mouseMoved", 900, 500, button="left", buttons=1)
        page.mouse("mouseReleased", 900, 500, button="left", clickCount=1)
        page.frames()
        moved = page.run(view)
        self.check(moved[0] < near[0] and
                   abs((moved[1] - moved[0]) - (near[1] - near[0])) < 1,
                   "dragging does not move")
        page.run("document.getElementById('stage').focus()")
        page.key("d")
        self.check(page.run(view)[0] > moved[0], "key d does not move")
        page.key("0")
        self.check(page.run(view) == whole, "key 0 does not fit")


def make(make_views, program, passes, path):
    """Returns the number of the program's instructions."""
    done = subprocess.run([make_views, program, str(passes), path], check=True,
                          stdout=subprocess.PIPE)
    return int(done.stdout)


def whole_token(browser, page_path, num_events, shots):
    with chromium.Page(browser) as page:
        page.load(page_path)
        test = Test(page, shots)
        test.load(num_events)
        test.speed()
        test.hover()
        test.filters()
        test.path()
        test.search()
        test.input()
        test.check(not page.problems, f"the page reports {page.problems}")


def several_tokens(browser, page_path, shots):
    with chromium.Page(browser, dark=True, ratio=2) as page:
        page.load(page_path)
        test = Test(page, shots)
        page.frames()
        test.check(page.run("mkvmViewer.view.pass") == 1,
                   "not the first whole token")
        page.run("mkvmViewer.setMode('phase'); mkvmViewer.zoomTo("
                 "mkvmViewer.view.begin, mkvmViewer.view.begin + 80000)")
        test.shot("dark")
        page.run("mkvmViewer.setPass(-1)")
        ms = test.frame_ms(lambda i: None, 10)
        print(f"median frame: 4 tokens at twice the resolution {ms:.1f} ms")
        test.check(ms < 4 * MAX_MEDIAN_FRAME_MS, "a frame takes too long")
        test.check(not page.problems, f"the page reports {page.problems}")


def empty(browser, page_path):
    with chromium.Page(browser) as page:
        page.load(page_path)
        test = Test(page, None)
        page.frames()
        test.check("no events" in page.run(
            "document.getElementById('warning').textContent"), "no warning")
        page.mouse("mouseMoved", 700, 500)
        page.key("0")
        page.run("mkvmViewer.setMode('phase'); mkvmViewer.setPath(true);"
                 "mkvmViewer.drawNow()")
        test.check(not page.problems, f"the page reports {page.problems}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("make_views")
    parser.add_argument("program")
    parser.add_argument("--screenshots", type=pathlib.Path)
    args = parser.parse_args()
    browser = chromium.find()
    if browser is None:
        print("skipped: no Chromium here (CHROMIUM may name one)")
        sys.exit(77)
    if args.screenshots:
        args.screenshots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for passes in (0, 1, 4):
            instructions = make(args.make_views, args.program, passes,
                                f"{folder}/{passes}.html")
        whole_token(browser, f"{folder}/1.html", instructions,
                    args.screenshots)
        several_tokens(browser, f"{folder}/4.html", args.screenshots)
        empty(browser, f"{folder}/0.html")
    print("passed")


if __name__ == "__main__":
    main()
