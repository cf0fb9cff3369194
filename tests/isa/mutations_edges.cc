// Mutations of waits, signals and tags.
#include <algorithm>
#include <utility>
#include <vector>

#include "isa/opcode_table.h"
#include "tests/isa/mutation_tools.h"

namespace mkvm::isa {
namespace {

void RemoveWait(Instruction& i, int k) {
  const auto drop_bit = [k](uint32_t bits) {
    const uint32_t below = bits & ((1u << k) - 1);
    return below | (bits >> (k + 1) << k);
  };
  i.lags = static_cast<uint8_t>(drop_bit(i.lags));
  i.tagged = static_cast<uint16_t>(drop_bit(i.tagged));
  std::move(i.waits + k + 1, i.waits + kMaxWaits, i.waits + k);
  i.waits[kMaxWaits - 1] = {};
  --i.num_waits;
}

// ---- waits ------------------------------------------------------------------

bool DeleteWait(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, HasWaits, spot)) return false;
  Instruction& i = At(program, spot);
  RemoveWait(i, static_cast<int>(random.Below(i.num_waits)));
  return true;
}

bool DeleteAllWaits(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, HasWaits, spot)) return false;
  while (At(program, spot).num_waits > 0) RemoveWait(At(program, spot), 0);
  return true;
}

// Of everybody: as if the compiler had forgotten an edge everywhere.
bool DeleteAllWaitsForACounter(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, HasWaits, spot)) return false;
  const uint32_t counter = At(program, spot).waits[0].counter;
  for (auto& queue : program.queues) {
    for (Instruction& i : queue) {
      for (int k = i.num_waits - 1; k >= 0; --k) {
        if (i.waits[k].counter == counter) RemoveWait(i, k);
      }
    }
  }
  return true;
}

bool LowerThreshold(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, HasWaits, spot)) return false;
  Wait& wait = At(program, spot).waits[0];
  wait.threshold -= 1 + static_cast<uint32_t>(random.Below(wait.threshold));
  return true;
}

bool RaiseThreshold(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, HasWaits, spot)) return false;
  At(program, spot).waits[0].threshold +=
      1 + static_cast<uint32_t>(random.Below(3));
  return true;
}

bool RedirectWait(Program& program, Random& random) {
  Spot spot;
  if (program.counters.size() < 2) return false;
  if (!Pick(program, random, HasWaits, spot)) return false;
  Instruction& i = At(program, spot);
  Wait& wait = i.waits[random.Below(i.num_waits)];
  wait.counter = static_cast<uint32_t>(
      (wait.counter + 1 + random.Below(program.counters.size() - 1)) %
      program.counters.size());
  MendCounters(program);
  return true;
}

bool FlipLag(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, HasWaits, spot)) return false;
  Instruction& i = At(program, spot);
  i.lags ^= static_cast<uint8_t>(1u << random.Below(i.num_waits));
  return true;
}

bool FlipLagUntagged(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, HasWaits, spot)) return false;
  Instruction& i = At(program, spot);
  const size_t k = random.Below(i.num_waits);
  i.lags ^= static_cast<uint8_t>(1u << k);
  i.tagged &= static_cast<uint16_t>(~(1u << k));
  return true;
}

// ---- signals ----------------------------------------------------------------

bool DropSignal(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, Signals, spot)) return false;
  At(program, spot).signal = kNoCounter;
  return true;
}

bool DropSignalAndMend(Program& program, Random& random) {
  if (!DropSignal(program, random)) return false;
  MendCounters(program);
  return true;
}

bool RedirectSignal(Program& program, Random& random) {
  Spot spot;
  if (program.counters.size() < 2) return false;
  if (!Pick(program, random, Signals, spot)) return false;
  Instruction& i = At(program, spot);
  i.signal = static_cast<uint32_t>(
      (i.signal + 1 + random.Below(program.counters.size() - 1)) %
      program.counters.size());
  return true;
}

bool RedirectSignalAndMend(Program& program, Random& random) {
  if (!RedirectSignal(program, random)) return false;
  MendCounters(program);
  return true;
}

// The signals of two instructions change places.
bool SwapSignals(Program& program, Random& random) {
  Spot a, b;
  if (!Pick(program, random, Signals, a)) return false;
  if (!Pick(program, random, Signals, b)) return false;
  if (At(program, a).signal == At(program, b).signal) return false;
  std::swap(At(program, a).signal, At(program, b).signal);
  return true;
}

bool MergeCounters(Program& program, Random& random) {
  if (program.counters.size() < 2) return false;
  const uint32_t from =
      static_cast<uint32_t>(random.Below(program.counters.size()));
  const uint32_t to = static_cast<uint32_t>(
      (from + 1 + random.Below(program.counters.size() - 1)) %
      program.counters.size());
  for (auto& queue : program.queues) {
    for (Instruction& i : queue) {
      if (i.signal == from) i.signal = to;
      for (int k = 0; k < i.num_waits; ++k) {
        if (i.waits[k].counter == from) i.waits[k].counter = to;
      }
    }
  }
  MendCounters(program);
  return true;
}

bool ClearRelease(Program& program, Random& random) {
  Spot spot;
  if (!Pick(
          program, random,
          [](const Instruction& i) {
            return Signals(i) && (i.flags & kFlagRelease);
          },
          spot)) {
    return false;
  }
  At(program, spot).flags &= static_cast<uint16_t>(~kFlagRelease);
  return true;
}

bool ClearEveryRelease(Program& program, Random& random) {
  if (!ClearRelease(program, random)) return false;
  for (auto& queue : program.queues) {
    for (Instruction& i : queue) {
      i.flags &= static_cast<uint16_t>(~kFlagRelease);
    }
  }
  return true;
}

bool SetRelease(Program& program, Random& random) {
  Spot spot;
  if (!Pick(
          program, random,
          [](const Instruction& i) { return !(i.flags & kFlagRelease); },
          spot)) {
    return false;
  }
  At(program, spot).flags |= kFlagRelease;
  return true;
}

// ---- tags -------------------------------------------------------------------

bool SetTagged(Program& program, Random& random) {
  Spot spot;
  if (!Pick(
          program, random,
          [](const Instruction& i) {
            return i.num_waits > 0 && i.tagged + 1 < 1 << i.num_waits;
          },
          spot)) {
    return false;
  }
  Instruction& i = At(program, spot);
  i.tagged |= static_cast<uint16_t>(1u << random.Below(i.num_waits));
  return true;
}

bool ClearTagged(Program& program, Random& random) {
  Spot spot;
  if (!Pick(
          program, random, [](const Instruction& i) { return i.tagged != 0; },
          spot)) {
    return false;
  }
  At(program, spot).tagged = 0;
  return true;
}

bool ClearOnePolled(Program& program, Random& random) {
  Spot spot;
  if (!Pick(
          program, random, [](const Instruction& i) { return i.polled != 0; },
          spot)) {
    return false;
  }
  Instruction& i = At(program, spot);
  uint32_t bit;
  do {
    bit = 1u << random.Below(32);
  } while (!(i.polled & bit));
  i.polled &= ~bit;
  return true;
}

bool ClearPolledAndTagged(Program& program, Random& random) {
  Spot spot;
  if (!Pick(
          program, random, [](const Instruction& i) { return i.polled != 0; },
          spot)) {
    return false;
  }
  At(program, spot).polled = 0;
  At(program, spot).tagged = 0;
  return true;
}

bool SetPolled(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, IsNoHalt, spot)) return false;
  Instruction& i = At(program, spot);
  i.polled |= 1u << random.Below(FindOpcode(i.opcode)->operands.size() + 1);
  return true;
}

// Polls whatever can be polled, and leaves every wait to it.
bool TagEverything(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, HasWaits, spot)) return false;
  Instruction& i = At(program, spot);
  std::vector<Access> accesses;
  AppendAccesses(program, i, accesses);
  for (const Access& access : accesses) {
    const Buffer& buffer = program.buffers[access.buffer];
    if (access.kind == AccessKind::kRead &&
        buffer.kind == BufferKind::kActivation &&
        (buffer.dtype == DType::kF24 || buffer.dtype == DType::kRanked)) {
      i.polled |= 1u << access.operand;
    }
  }
  i.tagged = static_cast<uint16_t>((1u << i.num_waits) - 1);
  return true;
}

constexpr Mutation kMutations[] = {
    {"delete a wait", Promise::kSameResult, DeleteWait},
    {"delete all waits of an instruction", Promise::kSameResult,
     DeleteAllWaits},
    {"delete all waits for a counter", Promise::kSameResult,
     DeleteAllWaitsForACounter},
    {"lower a threshold", Promise::kSameResult, LowerThreshold},
    {"raise a threshold", Promise::kSameResult, RaiseThreshold},
    {"redirect a wait", Promise::kSameResult, RedirectWait},
    {"flip a lag", Promise::kSameResult, FlipLag},
    {"flip a lag, untagged", Promise::kSameResult, FlipLagUntagged},
    {"drop a signal", Promise::kSameResult, DropSignal},
    {"drop a signal, counters mended", Promise::kSameResult, DropSignalAndMend},
    {"redirect a signal", Promise::kSameResult, RedirectSignal},
    {"redirect a signal, counters mended", Promise::kSameResult,
     RedirectSignalAndMend},
    {"swap two signals", Promise::kSameResult, SwapSignals},
    {"merge two counters", Promise::kSameResult, MergeCounters},
    {"clear a release", Promise::kSameResult, ClearRelease},
    {"clear every release", Promise::kSameResult, ClearEveryRelease},
    {"set a release", Promise::kSameResult, SetRelease},
    {"set tagged", Promise::kSameResult, SetTagged},
    {"clear tagged", Promise::kSameResult, ClearTagged},
    {"clear one polled", Promise::kSameResult, ClearOnePolled},
    {"clear polled and tagged", Promise::kSameResult, ClearPolledAndTagged},
    {"set polled", Promise::kSameResult, SetPolled},
    {"tag everything", Promise::kSameResult, TagEverything},
};

}  // namespace

absl::Span<const Mutation> EdgeMutations() { return kMutations; }

}  // namespace mkvm::isa
