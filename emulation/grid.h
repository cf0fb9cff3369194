// Runs a launch on the emulated GPU.
#ifndef MKVM_EMULATION_GRID_H_
#define MKVM_EMULATION_GRID_H_

#include <cstdint>
#include <functional>

#include "emulation/device.h"

namespace mkvm::emulation {

struct Launch {
  Index grid, block;
  uint32_t shared_bytes = 0;
  // All blocks are there at the same time; else some of them, then the next.
  bool together = true;
  std::function<void()> kernel;  // run by every thread
};

// Returns when all threads have left and all copies have landed.
void RunLaunch(const Launch& launch);

}  // namespace mkvm::emulation

#endif  // MKVM_EMULATION_GRID_H_
