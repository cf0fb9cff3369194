// Input, frames, and the hooks for tests.

const stage = byId('stage');
const base = byId('base');
const overlay = byId('overlay');
const baseContext = base.getContext('2d', {alpha: false});
const overlayContext = overlay.getContext('2d');

let frame = 0;
let rowsAreStale = true;
function draw() {
  frame = 0;
  const start = performance.now();
  limitScroll();
  if (rowsAreStale) {
    baseContext.fillStyle = themeColors.page;
    baseContext.fillRect(0, 0, base.width, base.height);
    drawRows(baseContext);
    rowsAreStale = false;
  }
  drawOverlay(overlayContext);
  stats.lastFrameMs = performance.now() - start;
  stats.frameMs.push(stats.lastFrameMs);
  if (stats.frameMs.length > 1000) stats.frameMs.shift();
  ++stats.frames;
}
function redrawOverlay() {
  if (frame === 0) frame = requestAnimationFrame(draw);
}
function redraw() {
  rowsAreStale = true;
  redrawOverlay();
}

function resize() {
  const box = stage.getBoundingClientRect();
  layout.width = Math.max(120, box.width);
  layout.height = Math.max(120, box.height);
  layout.ratio = window.devicePixelRatio || 1;
  for (const canvas of [base, overlay]) {
    canvas.width = Math.round(layout.width * layout.ratio);
    canvas.height = Math.round(layout.height * layout.ratio);
    canvas.style.width = `${layout.width}px`;
    canvas.style.height = `${layout.height}px`;
  }
  redraw();
}

function fit() {
  setRange(...passRange());
  view.rowHeight = 0;
  redraw();
}
function setPass(pass) {
  view.pass = pass;
  byId('pass').value = String(pass);
  fillLegend();
  fit();
  setPath(view.path);
}
function setMode(mode) {
  view.mode = mode;
  document.querySelector(`input[name=mode][value=${mode}]`).checked = true;
  fillLegend();
  redraw();
}
function setPath(shown) {
  view.path = shown;
  byId('path').checked = shown;
  byId('status').textContent = shown ? pathText() : '';
  byId('status').hidden = !shown;
  showPinned();
  redraw();
}
function setQuery(query) {
  const count = search(query);
  byId('found').textContent = query === '' ? '' :
      `${plural(count, 'instruction')} found`;
  redraw();
}
// Shows an instruction's details; `reveal` brings it into sight.
function pin(e, reveal) {
  view.pinned = e;
  showPinned();
  if (e >= 0 && reveal) {
    const length = view.end - view.begin;
    if (events.begin[e] < view.begin || endOf(e) > view.end) {
      const middle = (events.begin[e] + endOf(e)) / 2;
      setRange(middle - length / 2, middle + length / 2);
    }
    const y = events.worker[e] * rowHeight();
    if (y < view.top || y > view.top + rowsHeight() - rowHeight()) {
      view.top = y - rowsHeight() / 2;
    }
  }
  redraw();
}
function hover(x, y) {
  const inside = x >= layout.left && x <= layout.left + plotWidth();
  const e = inside ? eventAt(workerAt(y), timeAt(x)) : -1;
  const shown = e >= 0 && !isHidden(e) ? e : -1;
  if (shown !== view.hover) {
    view.hover = shown;
    redrawOverlay();
  }
  showTip(shown, x, y);
}
function setRowHeight(height) {
  view.rowHeight = Math.min(40, Math.max(2, height));
  redraw();
}

function pointOf(event) {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}
let drag = null;
stage.addEventListener('pointerdown', (event) => {
  if (event.button !== 0) return;
  const [x, y] = pointOf(event);
  drag = {x, y, begin: view.begin, end: view.end, top: view.top, moved: false};
  stage.setPointerCapture(event.pointerId);
});
stage.addEventListener('pointermove', (event) => {
  const [x, y] = pointOf(event);
  if (drag === null) {
    hover(x, y);
    return;
  }
  if (Math.abs(x - drag.x) + Math.abs(y - drag.y) > 4) drag.moved = true;
  if (!drag.moved) return;
  stage.classList.add('dragging');
  showTip(-1);
  const shift = (drag.x - x) / plotWidth() * (drag.end - drag.begin);
  setRange(drag.begin + shift, drag.end + shift);
  view.top = drag.top + drag.y - y;
  redraw();
});
stage.addEventListener('pointerup', (event) => {
  const [x, y] = pointOf(event);
  stage.classList.remove('dragging');
  if (drag !== null && !drag.moved) {
    hover(x, y);
    pin(view.hover, false);
  }
  drag = null;
});
stage.addEventListener('pointerleave', () => {
  view.hover = -1;
  showTip(-1);
  redrawOverlay();
});
stage.addEventListener('wheel', (event) => {
  event.preventDefault();
  const [x, y] = pointOf(event);
  const lines = event.deltaMode === 1 ? 16 : 1;
  const down = event.deltaY * lines;
  if (event.ctrlKey) {
    const height = rowHeight();
    const under = (y - layout.top + view.top) / height;
    setRowHeight(height * Math.exp(-down / 400));
    view.top = under * rowHeight() - (y - layout.top);
  } else if (event.shiftKey) {
    view.top += down || event.deltaX * lines;
  } else {
    const right = event.deltaX * lines / plotWidth() * (view.end - view.begin);
    setRange(view.begin + right, view.end + right);
    zoom(Math.exp(down / 400), x);
  }
  redraw();
  hover(x, y);
}, {passive: false});

function move(share) {
  const shift = (view.end - view.begin) * share;
  setRange(view.begin + shift, view.end + shift);
}
const middleX = () => layout.left + plotWidth() / 2;
const KEYS = {
  'w': () => zoom(0.7, middleX()), '+': () => zoom(0.7, middleX()),
  '=': () => zoom(0.7, middleX()),
  's': () => zoom(1 / 0.7, middleX()), '-': () => zoom(1 / 0.7, middleX()),
  'a': () => move(-0.15), 'ArrowLeft': () => move(-0.15),
  'd': () => move(0.15), 'ArrowRight': () => move(0.15),
  'ArrowUp': () => view.top -= 4 * rowHeight(),
  'ArrowDown': () => view.top += 4 * rowHeight(),
  '[': () => setRowHeight(rowHeight() / 1.25),
  ']': () => setRowHeight(rowHeight() * 1.25),
  '0': fit,
  'c': () => setPath(!view.path),
  'Escape': () => pin(-1, false),
  'Enter': () => pin(view.hover, false),
};
document.addEventListener('keydown', (event) => {
  if (event.target.matches('input[type=search], select') || event.ctrlKey ||
      event.metaKey || event.altKey) {
    return;
  }
  // Buttons have their own use for Enter.
  if (event.key === 'Enter' && event.target !== stage) return;
  const action = KEYS[event.key] || KEYS[event.key.toLowerCase()];
  if (action === undefined) return;
  event.preventDefault();
  action();
  redraw();
});

byId('pass').addEventListener('change', (event) => {
  setPass(Number(event.target.value));
});
byId('modes').addEventListener('change', (event) => setMode(event.target.value));
byId('path').addEventListener('change', (event) => {
  setPath(event.target.checked);
});
byId('search').addEventListener('input', (event) => {
  setQuery(event.target.value);
});
for (const [id, key] of [['zoom-in', '+'], ['zoom-out', '-'], ['fit', '0']]) {
  byId(id).addEventListener('click', () => {
    KEYS[key]();
    redraw();
  });
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  readTheme();
  redraw();
});

readTheme();
fillSummary();
fillPasses();
fillLegend();
showPinned();
new ResizeObserver(resize).observe(stage);
resize();
// One whole token is what most want to see first.
setPass(passes.length > 1 && about.typical_passes.length > 0 ?
    about.typical_passes[0] : -1);

window.mkvmViewer = {
  stats, view, layout, numEvents, numWorkers, tokens, passes,
  fit, setPass, setMode, setPath, setQuery, pin, redraw,
  zoomTo(begin, end) {
    setRange(begin, end);
    redraw();
  },
  setRowHeight,
  setHidden(mode, name, hidden) {
    setHidden(mode, modes[mode].names.indexOf(name), hidden);
  },
  // Draws now; milliseconds.
  drawNow() {
    rowsAreStale = true;
    cancelAnimationFrame(frame);
    draw();
    return stats.lastFrameMs;
  },
  // The middle of an event on the screen, in CSS pixels of the page.
  pointOfEvent(e) {
    const box = stage.getBoundingClientRect();
    const middle = (events.begin[e] + endOf(e)) / 2;
    return {x: box.left + xOf(middle),
            y: box.top + yOf(events.worker[e]) + rowHeight() / 2};
  },
  describeEvent(e) {
    return {label: labelOf(e), opcode: opcodeOf(e), text: textOf(e),
            worker: events.worker[e], pass: events.pass[e],
            pc: events.pc[e], begin: events.begin[e], end: endOf(e)};
  },
};
