'use strict';
// The trace as typed arrays. Times are nanoseconds; html.cc says what is in
// each array.

const raw = JSON.parse(document.getElementById('trace-data').textContent);
const about = raw.about;
const NO_EVENT = 0xffffffff;
const NUM_PARTS = raw.part_order.length;

function decode(Type, base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; ++i) bytes[i] = text.charCodeAt(i);
  return new Type(bytes.buffer);
}

const instructions = {
  begin: decode(Uint32Array, raw.instructions.begin),
  opcode: decode(Uint16Array, raw.instructions.opcode),
  kind: decode(Uint16Array, raw.instructions.kind),
  textBegin: decode(Uint32Array, raw.instructions.text_begin),
  text: decode(Uint32Array, raw.instructions.text),
  waitBegin: decode(Uint32Array, raw.instructions.wait_begin),
  waitCounter: decode(Uint32Array, raw.instructions.wait_counter),
  waitFlags: decode(Uint8Array, raw.instructions.wait_flags),
  labels: raw.instructions.labels,
};

const numEvents = raw.events.count;
const events = {
  rowBegin: decode(Uint32Array, raw.events.row_begin),
  pass: decode(Uint32Array, raw.events.pass),
  pc: decode(Uint32Array, raw.events.pc),
  begin: decode(Float64Array, raw.events.begin),
  at: decode(Int32Array, raw.events.at),  // ends of the parts
  bytes: decode(Float64Array, raw.events.bytes),
  fetched: decode(Int32Array, raw.events.fetched),
  loadBegin: decode(Int32Array, raw.events.load_begin),
  loadEnd: decode(Int32Array, raw.events.load_end),
  lastWait: decode(Int8Array, raw.events.last_wait),
  lastBuffer: decode(Uint32Array, raw.events.last_buffer),
  producer: decode(Uint32Array, raw.events.producer),
  publish: decode(Int32Array, raw.events.publish),
  worker: new Uint32Array(numEvents),
  instruction: new Uint32Array(numEvents),
  edgeBegin: new Uint32Array(numEvents + 1),
};
const numWorkers = events.rowBegin.length - 1;

for (let w = 0; w < numWorkers; ++w) {
  for (let e = events.rowBegin[w]; e < events.rowBegin[w + 1]; ++e) {
    const i = instructions.begin[w] + events.pc[e];
    events.worker[e] = w;
    events.instruction[e] = i;
    events.edgeBegin[e + 1] = events.edgeBegin[e] +
        instructions.waitBegin[i + 1] - instructions.waitBegin[i];
  }
}

const rate = {
  bin: raw.rate.bin_ns,
  values: decode(Float32Array, raw.rate.gb_per_s),
};
// Sums over the bins before, so that any stretch's mean is one subtraction.
rate.sums = new Float64Array(rate.values.length + 1);
rate.values.forEach((v, i) => rate.sums[i + 1] = rate.sums[i] + v);

const pathPartNames = raw.path.part_names;
const tokens = raw.path.tokens.map((token) => ({
  pass: token.pass,
  begin: token.begin,
  end: token.end,
  hops: token.hops,
  parts: token.parts,
  events: decode(Uint32Array, token.events),
  stepBegin: decode(Float64Array, token.step_begin),
  stepEnd: decode(Float64Array, token.step_end),
  isHop: decode(Uint8Array, token.is_hop),
}));

// End of a visit, and of its part k.
function endOf(e) {
  return events.begin[e] + events.at[e * NUM_PARTS + NUM_PARTS - 1];
}
function partBegin(e, k) {
  return events.begin[e] + (k === 0 ? 0 : events.at[e * NUM_PARTS + k - 1]);
}
function partEnd(e, k) {
  return events.begin[e] + events.at[e * NUM_PARTS + k];
}
function labelOf(e) {
  return instructions.labels[events.instruction[e]];
}
function opcodeOf(e) {
  return raw.instructions.opcodes[instructions.opcode[events.instruction[e]]];
}
function textOf(e) {
  const i = events.instruction[e];
  const words = [];
  for (let k = instructions.textBegin[i]; k < instructions.textBegin[i + 1];
       ++k) {
    words.push(raw.instructions.words[instructions.text[k]]);
  }
  return words.join(' ');
}

// First event of the worker that ends after `time`; rowBegin[worker + 1] when
// none does.
function firstEndingAfter(worker, time) {
  let low = events.rowBegin[worker];
  let high = events.rowBegin[worker + 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (endOf(middle) > time) high = middle;
    else low = middle + 1;
  }
  return low;
}
// The event of the worker at `time`, or -1.
function eventAt(worker, time) {
  if (worker < 0 || worker >= numWorkers) return -1;
  const e = firstEndingAfter(worker, time);
  if (e === events.rowBegin[worker + 1] || events.begin[e] > time) return -1;
  return e;
}

const span = {begin: 0, end: 1};
for (let w = 0; w < numWorkers; ++w) {
  if (events.rowBegin[w] === events.rowBegin[w + 1]) continue;
  span.end = Math.max(span.end, endOf(events.rowBegin[w + 1] - 1));
}

// The time of a pass: the critical path's, else what its events cover.
const passSpans = new Map();
for (let e = 0; e < numEvents; ++e) {
  const known = passSpans.get(events.pass[e]);
  const end = endOf(e);
  if (known === undefined) {
    passSpans.set(events.pass[e], {begin: events.begin[e], end});
  } else {
    known.begin = Math.min(known.begin, events.begin[e]);
    known.end = Math.max(known.end, end);
  }
}
for (const token of tokens) {
  passSpans.set(token.pass, {begin: token.begin, end: token.end});
}
const passes = [...passSpans.keys()].sort((a, b) => a - b);
