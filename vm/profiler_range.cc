#include "vm/profiler_range.h"

#if MKVM_HAVE_NVTX
#include <nvtx3/nvToolsExt.h>
#endif

namespace mkvm::vm {

#if MKVM_HAVE_NVTX

namespace {

// All of mkvm's ranges in one row of their own.
nvtxDomainHandle_t Domain() {
  static const nvtxDomainHandle_t domain = nvtxDomainCreateA("mkvm");
  return domain;
}

}  // namespace

ProfilerRange::ProfilerRange(const char* name) {
  nvtxEventAttributes_t attributes = {};
  attributes.version = NVTX_VERSION;
  attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
  attributes.message.ascii = name;
  nvtxDomainRangePushEx(Domain(), &attributes);
}

ProfilerRange::~ProfilerRange() { nvtxDomainRangePop(Domain()); }

#else

ProfilerRange::ProfilerRange(const char*) {}
ProfilerRange::~ProfilerRange() = default;

#endif

}  // namespace mkvm::vm
