// The rows of all workers, pixel by pixel. Each pixel shows the mean of what
// its worker did in that pixel's time, so that nothing flickers when many
// instructions share a pixel, and a frame's cost is bounded by the pixels and
// not by the trace.

const MAX_EVENTS_PER_PIXEL = 3;
const stats = {frames: 0, lastFrameMs: 0, frameMs: [], visibleEvents: 0,
               drawnEvents: 0};

function parseColor(text) {
  const n = parseInt(text.slice(1), 16);
  return [n >> 16 & 255, n >> 8 & 255, n & 255];
}
const themeColors = {};
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['page', 'panel', 'edge', 'text', 'soft', 'row',
                      'row-other', 'path', 'pick', 'rate']) {
    themeColors[name] = style.getPropertyValue('--' + name).trim();
  }
}

// Red, green, blue and opacity of every (category, state) in the mode.
function paletteOf(mode) {
  const opacity = STATES.map((name) => name === 'compute' ? 1 :
      name.startsWith('wait') ? 0.28 : 0.62);
  const count = mode === 'state' ? 1 : modes[mode].names.length;
  const table = new Float32Array(count * STATES.length * 4);
  for (let c = 0; c < count; ++c) {
    for (let s = 0; s < STATES.length; ++s) {
      const rgb = parseColor(colorOf(mode, mode === 'state' ? s : c));
      const alpha = modes.state.hidden.has(s) ? 0 :
          mode === 'state' ? 1 : opacity[s];
      table.set([...rgb, alpha], (c * STATES.length + s) * 4);
    }
  }
  return table;
}

// Sums over one row's pixels.
const sums = {width: 0, red: null, green: null, blue: null, weight: null,
              alpha: null};
function clearSums(width) {
  if (sums.width !== width) {
    sums.width = width;
    for (const name of ['red', 'green', 'blue', 'weight', 'alpha']) {
      sums[name] = new Float32Array(width);
    }
  }
  for (const name of ['red', 'green', 'blue', 'weight', 'alpha']) {
    sums[name].fill(0);
  }
}
function addTo(pixel, share, table, entry, strength) {
  const alpha = table[entry + 3] * strength * share;
  sums.red[pixel] += table[entry] * alpha;
  sums.green[pixel] += table[entry + 1] * alpha;
  sums.blue[pixel] += table[entry + 2] * alpha;
  sums.alpha[pixel] += alpha;
  sums.weight[pixel] += share;
}
// Adds the stretch [x0, x1) of pixels.
function addStretch(x0, x1, table, entry, strength) {
  if (x0 < 0) x0 = 0;
  if (x1 > sums.width) x1 = sums.width;
  if (x1 <= x0) return;
  const first = Math.floor(x0);
  const last = Math.floor(x1);
  if (first === last) {
    addTo(first, x1 - x0, table, entry, strength);
    return;
  }
  addTo(first, first + 1 - x0, table, entry, strength);
  for (let p = first + 1; p < last; ++p) addTo(p, 1, table, entry, strength);
  if (last < sums.width && x1 > last) {
    addTo(last, x1 - last, table, entry, strength);
  }
}

function categoryOf(mode, instruction) {
  if (mode === 'opcode') return instructions.opcode[instruction];
  if (mode === 'phase') return instructions.kind[instruction];
  return 0;
}

function sumRow(worker, width, table) {
  clearSums(width);
  const scale = width / (view.end - view.begin);
  const rowEnd = events.rowBegin[worker + 1];
  const first = firstEndingAfter(worker, view.begin);
  let last = first;
  // The first that begins after the view.
  for (let high = rowEnd; last < high;) {
    const middle = (last + high) >> 1;
    if (events.begin[middle] >= view.end) high = middle;
    else last = middle + 1;
  }
  stats.visibleEvents += last - first;
  const step = Math.max(1, Math.ceil((last - first) /
                                     (MAX_EVENTS_PER_PIXEL * width)));
  for (let e = first; e < last; e += step) {
    if (isHidden(e)) continue;
    ++stats.drawnEvents;
    const instruction = events.instruction[e];
    let strength = 1;
    if (matches !== null) strength = matches[instruction] === 1 ? 1 : 0.12;
    else if (view.path && onPath[e] === 0) strength = 0.4;
    const entry = categoryOf(view.mode, instruction) * STATES.length;
    let x0 = (events.begin[e] - view.begin) * scale;
    for (let k = 0; k < NUM_PARTS; ++k) {
      const x1 = (partEnd(e, k) - view.begin) * scale;
      if (x1 > x0) {
        addStretch(x0, x1, table, (entry + stateOfPart[k]) * 4, strength);
      }
      x0 = x1;
    }
  }
  return step;
}

// One line of pixels from the sums; `step`: each stands for so many events.
function writeLine(pixels, offset, width, background, step) {
  const [r0, g0, b0] = background;
  for (let p = 0; p < width; ++p) {
    const weight = sums.weight[p];
    // What `step` left out is taken to look like what it did not.
    const fill = weight === 0 ? 0 : Math.min(1, weight * step) / weight;
    const rest = Math.max(0, 1 - sums.alpha[p] * fill);
    pixels[offset + p] = 0xff000000 |
        (b0 * rest + sums.blue[p] * fill) << 16 |
        (g0 * rest + sums.green[p] * fill) << 8 |
        (r0 * rest + sums.red[p] * fill);
  }
}

let image = null;
function drawRows(context) {
  const ratio = layout.ratio;
  const width = Math.max(1, Math.round(plotWidth() * ratio));
  const height = Math.max(1, Math.round(rowsHeight() * ratio));
  if (image === null || image.width !== width || image.height !== height) {
    image = context.createImageData(width, height);
  }
  const pixels = new Uint32Array(image.data.buffer);
  const page = parseColor(themeColors.page);
  pixels.fill(0xff000000 | page[2] << 16 | page[1] << 8 | page[0]);
  const rowPixels = rowHeight() * ratio;
  // A line between the rows; between lower ones it would outshine them.
  const gap = rowPixels >= 7 ? 1 : 0;
  const table = paletteOf(view.mode);
  const shades = [parseColor(themeColors.row),
                  parseColor(themeColors['row-other'])];
  stats.visibleEvents = stats.drawnEvents = 0;
  const top = view.top * ratio;
  for (let w = Math.floor(top / rowPixels); w < numWorkers; ++w) {
    const y = Math.round(w * rowPixels - top);
    if (y >= height) break;
    const from = Math.max(0, y);
    const next = Math.round((w + 1) * rowPixels - top);
    const to = Math.min(height, next - gap);
    if (to <= from) continue;
    const step = sumRow(w, width, table);
    writeLine(pixels, from * width, width, shades[(w >> 3) & 1], step);
    for (let line = from + 1; line < to; ++line) {
      pixels.copyWithin(line * width, from * width, (from + 1) * width);
    }
  }
  context.putImageData(image, Math.round(layout.left * ratio),
                       Math.round(layout.top * ratio));
}
