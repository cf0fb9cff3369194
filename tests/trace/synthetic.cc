#include "tests/trace/synthetic.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "isa/traffic.h"

namespace mkvm::trace {
namespace {

// Of one worker, nanoseconds. Roughly a GPU's.
constexpr Nanos kHop = 900;
constexpr Nanos kDispatch = 250;
constexpr Nanos kLoad = 300;
constexpr Nanos kSignal = 60;
constexpr Nanos kFixed = 900;
constexpr double kBytesPerNano = 30;

uint32_t Hash(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x45d9f3bu;
  x = (x ^ (x >> 16)) * 0x45d9f3bu;
  return x ^ (x >> 16);
}

class Machine {
 public:
  Machine(const isa::Program& program, int64_t position)
      : program_(program),
        position_(position),
        seen_(program.counters.size()),
        published_(program.counters.size()),
        workers_(program.num_workers()) {}

  std::vector<Event> Run(uint32_t passes) {
    for (bool progress = true; progress;) {
      progress = false;
      for (uint32_t w = 0; w < program_.num_workers(); ++w) {
        while (workers_[w].pass < passes && !program_.queues[w].empty() &&
               Step(w)) {
          progress = true;
        }
      }
    }
    return std::move(events_);
  }

 private:
  struct Worker {
    uint32_t pass = 0;
    uint32_t pc = 0;
    Nanos time = 1000;    // its last instruction's end
    Nanos stream = 1000;  // its last weight copy's
  };

  // When the wait is over, or kNever: not yet.
  Nanos WaitEnd(const isa::Instruction& instruction, int i, uint32_t pass) {
    const isa::Wait& wait = instruction.waits[i];
    if (instruction.WaitIsLagged(i)) {
      if (pass == 0) return 0;
      --pass;
    }
    const size_t wanted =
        size_t{pass} * program_.counters[wait.counter].producers +
        wait.threshold;
    if (seen_[wait.counter] < wanted) return kNever;
    return published_[wait.counter][wanted - 1] + kHop;
  }

  // Runs the worker's next instruction if all that it waits for is known.
  bool Step(uint32_t w) {
    Worker& worker = workers_[w];
    const isa::Instruction& instruction = program_.queues[w][worker.pc];
    Event event = {.worker = w, .pass = worker.pass, .pc = worker.pc};
    event.visited = worker.time + kDispatch;
    event.waited = event.poll_begin = event.visited;
    for (int i = 0; i < instruction.num_waits; ++i) {
      const Nanos end = WaitEnd(instruction, i, worker.pass);
      if (end == kNever) return false;
      Nanos& mine =
          instruction.WaitIsTagged(i) ? event.poll_begin : event.waited;
      if (end > mine) {
        mine = end;
        event.last_wait = static_cast<int8_t>(i);
      }
    }
    event.poll_begin = std::max(event.poll_begin, event.waited);
    Compute(instruction, worker, event);
    Publish(instruction, event);
    events_.push_back(event);
    worker.time = event.signaled;
    if (++worker.pc == program_.queues[w].size()) {
      worker.pc = 0;
      ++worker.pass;
    }
    return true;
  }

  void Compute(const isa::Instruction& instruction, Worker& worker,
               Event& event) const {
    const uint64_t streamed = isa::StreamedBytes(program_.buffers, instruction);
    event.bytes =
        streamed + isa::KvBytes(instruction,
                                static_cast<uint64_t>(position_ + event.pass));
    const uint32_t dice =
        Hash(event.worker * 7919u + event.pc * 104729u + event.pass);
    event.fetched = std::max<Nanos>(0, event.visited - 700);
    event.ready = event.poll_begin + kLoad + dice % 200;
    const auto stream =
        static_cast<Nanos>(static_cast<double>(event.bytes) / kBytesPerNano);
    event.done = event.ready + kFixed + dice / 256 % 600 + stream / 3;
    if (streamed > 0) {
      event.load_begin = worker.stream;
      event.load_end = worker.stream + stream;
      // The weights' last stage comes this long after its copy was issued.
      const Nanos there = event.load_end + 500;
      if (there > event.ready) {
        event.stage_ready = there;
        event.stage_wait = there - event.ready;
        event.done = std::max(event.done, there + 400);
      }
      worker.stream = std::max(event.load_end, event.visited - 6000);
    }
    event.signaled = event.done + kSignal;
  }

  void Publish(const isa::Instruction& instruction, const Event& event) {
    if (instruction.signal == isa::kNoCounter) return;
    std::vector<Nanos>& times = published_[instruction.signal];
    const size_t wanted = (size_t{event.pass} + 1) *
                          program_.counters[instruction.signal].producers;
    if (times.size() < wanted) times.resize(wanted, 0);
    // All-join: what counts is a pass's last producer.
    times[wanted - 1] = std::max(times[wanted - 1], event.done);
    ++seen_[instruction.signal];
  }

  const isa::Program& program_;
  const int64_t position_;
  std::vector<uint64_t> seen_;
  std::vector<std::vector<Nanos>> published_;
  std::vector<Worker> workers_;
  std::vector<Event> events_;
};

}  // namespace

Trace SyntheticTrace(isa::Program program, uint32_t passes, int64_t position) {
  Trace trace;
  trace.program = std::move(program);
  trace.source = Source::kPredicted;
  trace.machine = "made up for a test";
  trace.first_position = position;
  trace.resolution_ns = 1;
  trace.stream_gb_per_s = 4600;
  trace.events = Machine(trace.program, position).Run(passes);
  Normalize(trace);
  return trace;
}

Trace TinyTrace(const std::string& label) {
  Trace trace;
  isa::Program& program = trace.program;
  program.name = label;
  program.counters = {{.name = "c" + label, .producers = 1},
                      {.name = "d", .producers = 1}};
  program.queues.resize(2);
  isa::Instruction producer, other;
  producer.signal = 0;
  other.signal = 1;
  program.queues[0] = {producer, other};
  isa::Instruction consumer;
  isa::AddWait(consumer, 0, 1);
  isa::AddWait(consumer, 1, 1, /*lag=*/false, /*tagged=*/true);
  program.queues[1] = {consumer};
  program.labels = {{"first" + label, ""}, {label}};
  trace.num_passes = 1;
  trace.machine = label;
  trace.command = label;
  Event first = {
      .visited = 0, .waited = 0, .ready = 100, .done = 1100, .signaled = 1200};
  Event second = {.pc = 1,
                  .visited = 1300,
                  .waited = 1300,
                  .ready = 1400,
                  .done = 2000,
                  .signaled = 2100};
  Event third = {.worker = 1,
                 .last_wait = 1,
                 .bytes = 3000,
                 .fetched = 10,
                 .load_begin = 20,
                 .load_end = 500,
                 .visited = 300,
                 .waited = 1500,
                 .poll_begin = 2600,
                 .ready = 2900,
                 .stage_ready = 3200,
                 .done = 4000,
                 .signaled = 4100,
                 .stage_wait = 200,
                 .operand_wait = 50};
  trace.events = {first, second, third};
  return trace;
}

}  // namespace mkvm::trace
