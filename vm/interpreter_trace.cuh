// The fetch warp's share of a trace. It opens a record when it fills a slot,
// and carries it to memory when the slot comes back: both far from the
// critical path. It also reads the clocks.
#ifndef MKVM_VM_INTERPRETER_TRACE_CUH_
#define MKVM_VM_INTERPRETER_TRACE_CUH_

#include <cstdint>

#include "ops/device_context.cuh"
#include "vm/launch.h"

namespace mkvm::vm {

class FetchTracer {
 public:
  __device__ FetchTracer(const TraceArguments& arguments,
                         ops::SharedMemory* shared)
      : arguments_(arguments), shared_(shared), lane_(threadIdx.x % 32) {}

  // The slot has come back, or was never used. Whole warp.
  __device__ void Close(uint32_t slot) {
    ops::TraceRecord& record = shared_->traces[slot].record;
    if (record.done != 0) ended_ |= record.pass >= arguments_.end_pass;
    const bool wanted = record.done != 0 &&
                        record.pass >= arguments_.first_pass &&
                        record.pass < arguments_.end_pass;
    if (!wanted) return;
    if (counts_.records == arguments_.capacity) {
      ++counts_.dropped;
      return;
    }
    TakeLastRead(slot);
    TakeStageWait(slot);
    constexpr uint32_t kWords = sizeof(ops::TraceRecord) / sizeof(uint32_t);
    auto* to = reinterpret_cast<uint32_t*>(
        arguments_.records + uint64_t{blockIdx.x} * arguments_.capacity +
        counts_.records);
    if (lane_ < kWords) {
      to[lane_] = reinterpret_cast<const uint32_t*>(&record)[lane_];
    }
    ++counts_.records;
  }

  // The slot is about to be announced. Whole warp; each lane's writes are
  // announced with it.
  __device__ void Open(uint32_t slot, uint32_t pass, uint32_t pc) {
    pass_ = pass;
    ops::TraceRecord& record = shared_->traces[slot].record;
    __syncwarp();  // Close has read what was there
    if (lane_ < ops::kComputeWarps) {
      shared_->traces[slot].reads[lane_] = {};
      shared_->traces[slot].stage_waits[lane_] = {};
    }
    if (lane_ == 0) {
      record = {};
      record.fetched = ptx::ClockCycles();
      record.pass = pass;
      record.pc = pc;
    }
  }

  // To be called all the time: reads both clocks every now and then, in the
  // pass before the window too, so that every time lies between two readings.
  // A line between readings follows a clock rate that changes; the distance
  // grows with the time since the first, so that the memory lasts.
  __device__ void Tick() {
    if (pass_ + 1 < arguments_.first_pass || closed_) return;
    const uint64_t now = ptx::ClockCycles();
    if (counts_.samples == 0) first_read_ = now;
    const uint64_t spacing =
        max(kSpacingCycles,
            (now - first_read_) / (arguments_.samples_per_worker / 2));
    if (counts_.samples != 0 && now - last_read_ < spacing) return;
    if (counts_.samples + 1 >= arguments_.samples_per_worker) return;
    last_read_ = now;
    ReadClocks();
    closed_ = ended_;
  }

  // After the compute threads have left: what is still in the slots, oldest
  // first. The clocks are read before that takes its time, since their rate
  // changes as soon as nobody computes.
  __device__ void Finish(uint32_t next_slot) {
    if (!closed_) ReadClocks();
    for (uint32_t i = 0; i < ops::kInstructionSlots; ++i) {
      Close((next_slot + i) % ops::kInstructionSlots);
    }
    if (lane_ == 0) arguments_.counts[blockIdx.x] = counts_;
  }

 private:
  static constexpr uint64_t kSpacingCycles = 2048;  // about 1.1 us

  // Of the warps' first reads, the last one goes into the record.
  __device__ void TakeLastRead(uint32_t slot) {
    const ops::TraceRead* reads = shared_->traces[slot].reads;
    const bool mine = lane_ < ops::kComputeWarps;
    const auto fetched =
        static_cast<uint32_t>(shared_->traces[slot].record.fetched);
    // Since `fetched`: the clock's lower bits may have gone round.
    const uint32_t since =
        mine && reads[lane_].ready != 0 ? reads[lane_].ready - fetched : 0;
    const uint32_t last = __reduce_max_sync(0xffffffffu, since);
    const uint32_t who = __ballot_sync(0xffffffffu, mine && since == last);
    if (static_cast<int>(lane_) == __ffs(static_cast<int>(who)) - 1) {
      ops::TraceRecord& record = shared_->traces[slot].record;
      record.ready = reads[lane_].ready;
      record.poll_begin = reads[lane_].poll_begin;
      record.last_buffer = reads[lane_].last_buffer;
    }
    __syncwarp();
  }

  // Of the warps' waits for stages, the longest goes into the record.
  __device__ void TakeStageWait(uint32_t slot) {
    const ops::TraceStageWait* waits = shared_->traces[slot].stage_waits;
    const bool mine = lane_ < ops::kComputeWarps;
    const uint32_t wait = mine ? waits[lane_].wait : 0;
    const uint32_t longest = __reduce_max_sync(0xffffffffu, wait);
    const uint32_t who = __ballot_sync(0xffffffffu, mine && wait == longest);
    if (longest != 0 &&
        static_cast<int>(lane_) == __ffs(static_cast<int>(who)) - 1) {
      ops::TraceRecord& record = shared_->traces[slot].record;
      record.stage_wait = longest;
      record.stage_ready = waits[lane_].ready;
    }
    __syncwarp();
  }

  // Both clocks at the moment when the coarser one steps. A reading that took
  // long (its instructions had to be fetched, say) is no reading.
  __device__ void ReadClocks() {
    constexpr int kMostReadings = 4096;
    constexpr uint64_t kPromptCycles = 100;
    if (lane_ == 0) {
      uint64_t before = ptx::GlobalTimerNs();
      ops::TraceSample sample = {};
      for (int i = 0; i < kMostReadings; ++i) {
        const uint64_t begin = ptx::ClockCycles();
        sample.global_ns = ptx::GlobalTimerNs();
        const uint64_t end = ptx::ClockCycles();
        sample.cycles = begin + (end - begin) / 2;
        if (sample.global_ns != before && end - begin < kPromptCycles) break;
        before = sample.global_ns;
      }
      arguments_.samples[uint64_t{blockIdx.x} * arguments_.samples_per_worker +
                         counts_.samples] = sample;
    }
    ++counts_.samples;
  }

  const TraceArguments& arguments_;
  ops::SharedMemory* shared_;
  const uint32_t lane_;
  ops::TraceCounts counts_ = {};
  uint32_t pass_ = 0;  // fetched last
  uint64_t first_read_ = 0, last_read_ = 0;
  bool ended_ = false;   // an instruction after the window is done
  bool closed_ = false;  // the clocks were read after that
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_INTERPRETER_TRACE_CUH_
