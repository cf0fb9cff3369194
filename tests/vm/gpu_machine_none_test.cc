#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vm/gpu_machine.h"

namespace mkvm::vm {
namespace {

TEST(GpuMachineNone, SaysWhatIsMissingAndTheMend) {
  const absl::Status query = QueryGpu(0).status();
  EXPECT_EQ(query.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(query.message()),
              testing::StartsWith("this mkvm was built without CUDA; "));
  EXPECT_THAT(std::string(query.message()), testing::HasSubstr("MKVM_CUDA=ON"));
  const absl::Status create = CreateGpuMachine(isa::Program()).status();
  EXPECT_EQ(create, query);
}

}  // namespace
}  // namespace mkvm::vm
