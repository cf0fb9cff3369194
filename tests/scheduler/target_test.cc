#include "scheduler/target.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "isa/opcode.h"
#include "scheduler/compile.h"

namespace mkvm::scheduler {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(TargetTest, KnowsTheUsualMachines) {
  for (const char* name :
       {"h200", "h100", "a100", "rtx4090", "rtx5090", "rtx3090", "cpu"}) {
    EXPECT_THAT(TargetNames(), Contains(name));
    absl::StatusOr<Target> target = FindTarget(name);
    ASSERT_TRUE(target.ok()) << target.status();
    EXPECT_EQ(target->name, name);
    EXPECT_THAT(target->notes, HasSubstr("measured"));
  }
  EXPECT_EQ(FindTarget("h200")->workers, 128u);
  EXPECT_EQ(FindTarget("h200")->stages, 13u);
  EXPECT_EQ(FindTarget("h200")->min_gemv_rows, 16u);
  EXPECT_FALSE(FindTarget("cpu")->panels);
  EXPECT_EQ(FindTarget("cpu")->min_gemv_rows, 1u);
}

TEST(TargetTest, SaysWhoseTimesTheyAre) {
  EXPECT_THAT(FindTarget("h200")->notes,
              HasSubstr("measured by mkvm calibrate on one NVIDIA H200"));
  EXPECT_THAT(FindTarget("h200")->costs, Contains(::testing::Key("halt")));
  for (const char* name : {"h100", "a100", "rtx4090", "rtx5090", "rtx3090"}) {
    EXPECT_THAT(FindTarget(name)->notes, HasSubstr("not measured")) << name;
    EXPECT_THAT(FindTarget(name)->notes, HasSubstr("of an H200 assumed"));
  }
}

TEST(TargetTest, StagesFitSharedMemory) {
  for (const std::string& name : TargetNames()) {
    const Target target = FindTarget(name).value();
    if (target.shared_memory_bytes == 0) continue;
    EXPECT_LE(target.stages * isa::kStageBytes + isa::kWorkerReserveBytes,
              target.shared_memory_bytes)
        << name;
  }
}

TEST(TargetTest, NotFoundListsTheNames) {
  const absl::Status status = FindTarget("h300").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("h300"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("h200"));
}

TEST(TargetTest, JsonRoundTrip) {
  for (const std::string& name : TargetNames()) {
    const Target a = FindTarget(name).value();
    absl::StatusOr<Target> b = ParseTarget(TargetToJson(a));
    ASSERT_TRUE(b.ok()) << b.status();
    EXPECT_EQ(TargetToJson(*b), TargetToJson(a));
    EXPECT_EQ(b->workers, a.workers);
    EXPECT_EQ(b->panels, a.panels);
    EXPECT_EQ(b->min_gemv_rows, a.min_gemv_rows);
    EXPECT_EQ(b->stream_gb_per_s, a.stream_gb_per_s);
  }
}

TEST(TargetTest, MissingKeysKeepTheirDefaults) {
  absl::StatusOr<Target> target =
      ParseTarget(R"({"name": "mine", "workers": 46})");
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->workers, 46u);
  EXPECT_EQ(target->stages, Target().stages);
  EXPECT_EQ(target->min_gemv_rows, 1u);
}

struct BadJson {
  const char* json;
  const char* message;
};

class BadTargetTest : public ::testing::TestWithParam<BadJson> {};

TEST_P(BadTargetTest, IsRefused) {
  const absl::StatusOr<Target> target = ParseTarget(GetParam().json);
  ASSERT_FALSE(target.ok());
  EXPECT_EQ(target.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(target.status().message()),
              HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadTargetTest,
    ::testing::Values(
        BadJson{"{", "not valid JSON"}, BadJson{"[1]", "not a JSON object"},
        BadJson{R"({"workers": 4})", "\"name\" is missing"},
        BadJson{R"({"name": 3})",
                "\"name\" must be a string, not the number 3"},
        BadJson{R"({"name": "a", "worker": 4})", "unknown key \"worker\""},
        BadJson{R"({"name": "a", "workers": "4"})",
                "\"workers\" must be an integer in [0, 4294967295], not a "
                "string"},
        BadJson{R"({"name": "a", "workers": -4})", "not the number -4"},
        BadJson{R"({"name": "a", "workers": 1.5})", "not the number 1.5"},
        BadJson{R"({"name": "a", "workers": 4294967296})", "4294967296"},
        BadJson{R"({"name": "a", "workers": 0})", "at least 1"},
        BadJson{R"({"name": "a", "stages": 0})", "at least 1"},
        BadJson{R"({"name": "a", "max_kv_splits": 0})", "at least 1"},
        BadJson{R"({"name": "a", "min_gemv_rows": -1})",
                "\"min_gemv_rows\" must be an integer"},
        BadJson{R"({"name": "a", "panels": 1})", "must be true or false"},
        BadJson{R"({"name": "a", "hop_us": -1})", "not negative"},
        BadJson{R"({"name": "a", "hop_us": null})", "not a null"},
        BadJson{R"({"name": "a", "stream_gb_per_s": 0})", "above 0"},
        BadJson{R"({"name": "a", "slots": 0})", "at least 1"},
        BadJson{R"({"name": "a", "counter_hop_us": "x"})",
                "\"counter_hop_us\" must be a number"},
        BadJson{R"({"name": "a", "costs": 3})", "\"costs\" must be an object"},
        BadJson{R"({"name": "a", "costs": {"gemm": {}}})",
                "\"gemm\": no such class; there are default, nop, "},
        BadJson{R"({"name": "a", "costs": {"gemv.store": {}}})",
                "\"gemv.store\": no such class"},
        BadJson{R"({"name": "a", "costs": {"gemv": 1}})",
                "\"gemv\": must be an object"},
        BadJson{R"({"name": "a", "costs": {"gemv": {"fixed": 1}}})",
                "\"gemv\": unknown key \"fixed\"; there are load_us"},
        BadJson{R"({"name": "a", "costs": {"gemv": {"fixed_us": -1}}})",
                "\"fixed_us\" must be a number that is not negative"},
        BadJson{R"({"name": "a", "costs": {"gemv": {"unit_us": 1}}})",
                "\"unit_us\" must be an object"},
        BadJson{R"({"name": "a", "costs": {"gemv": {"unit_us": {"rows": 1}}}})",
                "no unit \"rows\"; there are stages, slabs"},
        BadJson{R"({"name": "a", "costs": {"gemv": {"unit_us":
                   {"stages": null}}}})",
                "\"stages\" must be a number that is not negative"},
        BadJson{R"({"name": "a", "costs": {"gemv": {"spread": [1, 2]}}})",
                "\"spread\" must be 8 ascending numbers"},
        BadJson{R"({"name": "a", "costs": {"gemv": {"spread":
                   [0, 1, 2, 3, 4, 5, 7, 6]}}})",
                "\"spread\" must be 8 ascending numbers"},
        BadJson{R"({"name": "a", "costs": {"gemv": {"spread":
                   [-2, 0, 0, 0, 0, 0, 0, 0]}}})",
                "from -1 on"}));

TEST(TargetTest, CostsRoundTrip) {
  const char* json = R"({
    "name": "a", "counter_hop_us": 1.5, "load_us": 0.25,
    "costs": {
      "default": {"fixed_us": 0.5},
      "gemv.rms_norm.silu_mul": {
        "load_us": 0.5, "fixed_us": 1, "unit_us": {"stages": 0.125, "slabs": 0.75},
        "spread": [-0.5, -0.25, -0.125, 0, 0.125, 0.25, 0.5, 2]}}})";
  const absl::StatusOr<Target> a = ParseTarget(json);
  ASSERT_TRUE(a.ok()) << a.status();
  const absl::StatusOr<Target> b = ParseTarget(TargetToJson(*a));
  ASSERT_TRUE(b.ok()) << b.status();
  for (const Target* t : {&*a, &*b}) {
    EXPECT_EQ(t->counter_hop_us, 1.5);
    EXPECT_EQ(t->load_us, 0.25);
    ASSERT_EQ(t->costs.size(), 2u);
    const OpCost& cost = t->costs.at("gemv.rms_norm.silu_mul");
    EXPECT_EQ(cost.load_us, 0.5);
    EXPECT_EQ(cost.fixed_us, 1);
    EXPECT_EQ(cost.unit_us[static_cast<size_t>(Unit::kStages)], 0.125);
    EXPECT_EQ(cost.unit_us[static_cast<size_t>(Unit::kSlabs)], 0.75);
    EXPECT_EQ(cost.spread.front(), -0.5);
    EXPECT_EQ(cost.spread.back(), 2);
  }
  // What is not known is not written.
  EXPECT_EQ(TargetToJson(ParseTarget(R"({"name": "a"})").value())
                .find("counter_hop_us"),
            std::string::npos);
}

TEST(TargetTest, CompileRefusesStagesThatDoNotFit) {
  Target target = FindTarget("rtx4090").value();
  target.stages = 6;
  const auto program = Compile(model::FindConfig("qwen3-tiny").value(), target);
  ASSERT_FALSE(program.ok());
  EXPECT_THAT(std::string(program.status().message()),
              HasSubstr("6 stages need 117760 bytes of shared memory per "
                        "worker, it has 101376"));
}

}  // namespace
}  // namespace mkvm::scheduler
