// What is shown, and in which colours.

const STATES = ['wait', 'load operands', 'wait for operands',
                'wait for weights', 'compute', 'signal'];
// Part k of a visit -> index into STATES.
const stateOfPart = raw.part_order.map((name) => STATES.indexOf(name));
const COMPUTE = STATES.indexOf('compute');

// Colours that remain apart in the common kinds of colour blindness.
const STATE_COLORS = ['#d55e00', '#e8b000', '#c46fa8', '#0072b2', '#009e73',
                      '#808890'];
const CATEGORY_COLORS = ['#0072b2', '#d55e00', '#009e73', '#c46fa8', '#e8a000',
                         '#56b4e9', '#8c6d4f', '#7a5cc0', '#a8a000', '#808890',
                         '#20b0a8', '#c03050'];

const modes = {
  state: {names: STATES, colors: STATE_COLORS, hidden: new Set()},
  opcode: {names: raw.instructions.opcodes, colors: CATEGORY_COLORS,
           hidden: new Set()},
  phase: {names: raw.instructions.kinds, colors: CATEGORY_COLORS,
          hidden: new Set()},
};

const view = {
  begin: 0,
  end: 1,
  top: 0,        // pixels scrolled off above the rows
  rowHeight: 0,  // CSS pixels; 0: as many as fit
  mode: 'state',
  pass: -1,  // -1: all
  path: false,
  query: '',
  hover: -1,   // events
  pinned: -1,
};
// Per instruction: 1 if the query matches; null without a query.
let matches = null;
// Per event: 1 on the critical path.
const onPath = new Uint8Array(numEvents);
for (const token of tokens) for (const e of token.events) onPath[e] = 1;

const layout = {
  width: 0, height: 0, ratio: 1,  // of the stage, CSS pixels
  left: 62,                       // the workers' numbers
  rate: {top: 6, height: 58},
  axis: {top: 66, height: 22},
  top: 90,  // of the rows
};

function colorOf(mode, category) {
  const colors = modes[mode].colors;
  return colors[category % colors.length];
}

function rowsHeight() {
  return Math.max(0, layout.height - layout.top - 4);
}
// CSS pixels; a fraction makes some rows a device pixel higher than others.
function rowHeight() {
  const fitting = rowsHeight() / Math.max(1, numWorkers);
  return view.rowHeight || Math.min(28, Math.max(3, fitting));
}
function plotWidth() {
  return Math.max(1, layout.width - layout.left - 8);
}
function xOf(time) {
  return layout.left +
      (time - view.begin) / (view.end - view.begin) * plotWidth();
}
function timeAt(x) {
  return view.begin +
      (x - layout.left) / plotWidth() * (view.end - view.begin);
}
function yOf(worker) {
  return layout.top + worker * rowHeight() - view.top;
}
function workerAt(y) {
  if (y < layout.top) return -1;
  return Math.floor((y - layout.top + view.top) / rowHeight());
}

function limitScroll() {
  const most = Math.max(0, numWorkers * rowHeight() - rowsHeight());
  view.top = Math.min(most, Math.max(0, view.top));
}
const SHORTEST_NS = 20;
function setRange(begin, end) {
  const room = (span.end - span.begin) * 0.05 + SHORTEST_NS;
  const low = span.begin - room;
  const high = span.end + room;
  const length = Math.min(high - low, Math.max(SHORTEST_NS, end - begin));
  const middle = (begin + end) / 2;
  view.begin = Math.min(high - length, Math.max(low, middle - length / 2));
  view.end = view.begin + length;
}
// The pass, or everything, with a little air.
function passRange() {
  const range = passSpans.get(view.pass) || span;
  const air = (range.end - range.begin) * 0.01;
  return [range.begin - air, range.end + air];
}
function zoom(factor, x) {
  const center = timeAt(x);
  setRange(center - (center - view.begin) * factor,
           center + (view.end - center) * factor);
}

function search(query) {
  view.query = query;
  matches = null;
  let count = 0;
  if (query === '') return count;
  const wanted = query.toLowerCase();
  matches = new Uint8Array(instructions.labels.length);
  instructions.labels.forEach((label, i) => {
    matches[i] = label.toLowerCase().includes(wanted) ? 1 : 0;
  });
  for (let e = 0; e < numEvents; ++e) count += matches[events.instruction[e]];
  return count;
}

function isHidden(e) {
  const i = events.instruction[e];
  return modes.opcode.hidden.has(instructions.opcode[i]) ||
      modes.phase.hidden.has(instructions.kind[i]);
}

function us(nanos, digits = 2) {
  return (nanos / 1000).toFixed(digits);
}
