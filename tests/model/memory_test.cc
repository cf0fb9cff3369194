#include "model/memory.h"

#include "tests/model/files.h"

namespace mkvm::model {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class AvailableMemoryTest : public testing::Test {
 protected:
  void Put(const std::string& path, const std::string& text) {
    const std::string at = folder_ / path;
    std::filesystem::create_directories(
        std::filesystem::path(at).parent_path());
    WriteAll(at, text);
  }
  uint64_t Available() const { return AvailableMemoryBytes(folder_.path()); }
  TempFolder folder_;
};

TEST_F(AvailableMemoryTest, UnknownIsUnlimited) {
  EXPECT_EQ(Available(), UINT64_MAX);
}

TEST_F(AvailableMemoryTest, KernelsFigure) {
  Put("proc/meminfo",
      "MemTotal:  8192 kB\nMemFree:  1 kB\nMemAvailable:   4096 kB\n");
  EXPECT_EQ(Available(), 4 * kMiB);
}

TEST_F(AvailableMemoryTest, Cgroup2LimitOfAnyAncestor) {
  Put("proc/meminfo", "MemAvailable: 1048576 kB\n");
  Put("proc/self/cgroup", "0::/a/b\n");
  Put("sys/fs/cgroup/a/b/memory.max", "max\n");
  Put("sys/fs/cgroup/a/b/memory.current", "1048576\n");
  EXPECT_EQ(Available(), 1024 * kMiB);
  Put("sys/fs/cgroup/a/memory.max", "10485760\n");
  Put("sys/fs/cgroup/a/memory.current", "4194304\n");
  EXPECT_EQ(Available(), 6 * kMiB);
  // Page cache that can be dropped counts as free.
  Put("sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 1048576\n");
  EXPECT_EQ(Available(), 7 * kMiB);
  // Over the limit: nothing is left, and nothing wraps around.
  Put("sys/fs/cgroup/a/memory.current", "99999999\n");
  EXPECT_EQ(Available(), 0u);
}

TEST_F(AvailableMemoryTest, Cgroup2RootOfAContainer) {
  Put("proc/self/cgroup", "0::/\n");
  Put("sys/fs/cgroup/memory.max", "3145728\n");
  Put("sys/fs/cgroup/memory.current", "1048576\n");
  EXPECT_EQ(Available(), 2 * kMiB);
}

TEST_F(AvailableMemoryTest, Cgroup1) {
  Put("proc/self/cgroup", "7:cpu,cpuacct:/x\n5:memory:/job\n");
  Put("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "8388608\n");
  Put("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "3145728\n");
  EXPECT_EQ(Available(), 5 * kMiB);
}

TEST_F(AvailableMemoryTest, ThisMachineHasSome) {
  EXPECT_GT(AvailableMemoryBytes(), kMiB);
}

TEST(CheckMemoryTest, EnoughAndTooLittle) {
  EXPECT_TRUE(CheckMemory(5, 5, "x", "y").ok());
  EXPECT_ERROR(
      CheckMemory(16 * kMiB * 1024, 3 * kMiB, "the model", "buy some"),
      kResourceExhausted,
      "the model needs 16.0 GiB of memory, 3.0 MiB are free: buy some");
}

TEST(FormatBytesTest, Units) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes(1536 * 1024), "1.5 MiB");
  EXPECT_EQ(FormatBytes(kMiB - 1), "1.0 MiB");
  EXPECT_EQ(FormatBytes(UINT64_MAX), "16.0 EiB");
}

}  // namespace
}  // namespace mkvm::model
