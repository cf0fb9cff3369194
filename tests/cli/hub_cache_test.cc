#include "cli/hub_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "cli/builtin_model.h"
#include "cli/model_folder.h"
#include "tests/cli/subprocess.h"

namespace mkvm::cli {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class HubCache : public testing::Test {
 protected:
  void SetUp() override {
    ::unsetenv("HF_HUB_CACHE");
    ::unsetenv("HF_HOME");
    ::unsetenv("MKVM_MODEL");
    ::setenv("HOME", TestFolder().c_str(), 1);
  }

  // A snapshot of Org/A in the cache at `hub`; its folder.
  static std::string AddSnapshot(const std::string& hub,
                                 const std::string& commit) {
    const std::string folder = hub + "/models--Org--A/snapshots/" + commit;
    fs::create_directories(folder);
    WriteText(folder + "/config.json", "{}");
    return folder;
  }
  static void SetMain(const std::string& hub, const std::string& commit) {
    fs::create_directories(hub + "/models--Org--A/refs");
    WriteText(hub + "/models--Org--A/refs/main", commit);
  }
};

TEST_F(HubCache, WhereItIs) {
  EXPECT_EQ(HubCacheFolder(), TestFolder() + "/.cache/huggingface/hub");
  ::setenv("HF_HOME", "/home/hf", 1);
  EXPECT_EQ(HubCacheFolder(), "/home/hf/hub");
  ::setenv("HF_HUB_CACHE", "/hub", 1);
  EXPECT_EQ(HubCacheFolder(), "/hub");
}

TEST_F(HubCache, NamesOfRepositories) {
  for (const char* name : {"Qwen/Qwen3-0.6B", "a/b", "A_1/b.c-d"}) {
    EXPECT_TRUE(IsRepositoryName(name)) << name;
  }
  for (const char* name : {"", "a", "a/b/c", "/a", "a/", "./a", "../a", "~/a",
                           "a b/c", "models/.git", "synthetic:1"}) {
    EXPECT_FALSE(IsRepositoryName(name)) << name;
  }
}

TEST_F(HubCache, TheCommitOfMainCounts) {
  const std::string hub = HubCacheFolder();
  const std::string named = AddSnapshot(hub, "abc");
  AddSnapshot(hub, "def");
  fs::last_write_time(named,
                      fs::file_time_type::clock::now() - std::chrono::hours(1));
  SetMain(hub, "abc\n");
  EXPECT_EQ(*FindInHubCache("Org/A"), named);
  EXPECT_EQ(*ResolveModel("Org/A"), named);
}

TEST_F(HubCache, TheNewestWhereMainNamesNone) {
  const std::string hub = HubCacheFolder();
  const std::string older = AddSnapshot(hub, "abc");
  const std::string newer = AddSnapshot(hub, "def");
  fs::last_write_time(older,
                      fs::file_time_type::clock::now() - std::chrono::hours(1));
  EXPECT_EQ(*FindInHubCache("Org/A"), newer);
  SetMain(hub, "gone");
  EXPECT_EQ(*FindInHubCache("Org/A"), newer);
}

TEST_F(HubCache, AMissingOneSaysWhereItLookedAndWhatToDo) {
  const absl::Status status = ResolveModel("Org/A").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(HubCacheFolder() + "/models--Org--A"),
                    HasSubstr("hf download Org/A"), HasSubstr("--model DIR")));
}

TEST_F(HubCache, AFolderOfThatNameWins) {
  AddSnapshot(HubCacheFolder(), "abc");
  const fs::path before = fs::current_path();
  fs::current_path(TestFolder());
  fs::create_directories("Org/A");
  EXPECT_EQ(*ResolveModel("Org/A"), "Org/A");
  fs::current_path(before);
}

TEST_F(HubCache, OtherNamesStayAsTheyAre) {
  for (const char* name : {"synthetic:3", "/no/such", "./no/such", "gone"}) {
    EXPECT_EQ(*ResolveModel(name), name);
  }
}

TEST_F(HubCache, NamesOfTheBuiltinModel) {
  EXPECT_TRUE(IsBuiltinName("tiny"));
  EXPECT_TRUE(IsBuiltinName("mkvm-tiny"));
  EXPECT_FALSE(IsBuiltinName("mkvm"));
  const fs::path before = fs::current_path();
  fs::current_path(TestFolder());
  fs::create_directories("tiny");
  EXPECT_EQ(*ResolveModel("./tiny"), "./tiny");
  EXPECT_NE(*ResolveModel("tiny"), "tiny");
  fs::current_path(before);
}

}  // namespace
}  // namespace mkvm::cli
