// What the thread sanitizer is told: which fiber runs, and what orders what.
// Nothing in builds without it.
#ifndef MKVM_EMULATION_SANITIZERS_H_
#define MKVM_EMULATION_SANITIZERS_H_

#include <cstdint>

#if defined(MKVM_EMULATION_TSAN)

#include <sanitizer/tsan_interface.h>

// Of the compiler's own interface.
extern "C" void __tsan_read_range(void* address, unsigned long bytes);
extern "C" void __tsan_write_range(void* address, unsigned long bytes);

namespace mkvm::emulation {

inline void* CurrentFiber() { return __tsan_get_current_fiber(); }
inline void* CreateFiber() { return __tsan_create_fiber(0); }
inline void DestroyFiber(void* fiber) { __tsan_destroy_fiber(fiber); }
// Orders nothing.
inline void SwitchFiber(void* fiber) {
  __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync);
}
// What this fiber has done so far comes before what others do after an
// Acquire of the same address.
inline void Release(void* address) { __tsan_release(address); }
inline void Acquire(void* address) { __tsan_acquire(address); }
// This fiber accesses `bytes` bytes.
inline void MarkRead(const void* address, uint64_t bytes) {
  __tsan_read_range(const_cast<void*>(address), bytes);
}
inline void MarkWritten(void* address, uint64_t bytes) {
  __tsan_write_range(address, bytes);
}

}  // namespace mkvm::emulation

#else

namespace mkvm::emulation {

inline void* CurrentFiber() { return nullptr; }
inline void* CreateFiber() { return nullptr; }
inline void DestroyFiber(void*) {}
inline void SwitchFiber(void*) {}
inline void Release(void*) {}
inline void Acquire(void*) {}
inline void MarkRead(const void*, uint64_t) {}
inline void MarkWritten(void*, uint64_t) {}

}  // namespace mkvm::emulation

#endif

#endif  // MKVM_EMULATION_SANITIZERS_H_
