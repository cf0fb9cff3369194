#include "cli/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mkvm::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Values {
  bool json = false;
  std::string out;
  std::optional<int64_t> count;
  std::optional<double> seconds;
  std::vector<std::string> binds;
};

absl::StatusOr<std::vector<std::string>> Parse(
    const std::vector<std::string>& args, Values& values,
    size_t min_positionals = 0, size_t max_positionals = 9) {
  Flags flags("verb ARGS", "Tests.");
  flags.Add("json", &values.json, "JSON");
  flags.Add("output,o", &values.out, "FILE", "output");
  flags.Add("num_tokens,n,predict", &values.count, "N", "count");
  flags.Add("watchdog_seconds", &values.seconds, "S", "seconds");
  flags.Add("bind", &values.binds, "B=F", "binding");
  return flags.Parse(args, min_positionals, max_positionals);
}

std::string UsageErrorOf(const std::vector<std::string>& args,
                         size_t min_positionals = 0,
                         size_t max_positionals = 9) {
  Values values;
  const absl::Status status =
      Parse(args, values, min_positionals, max_positionals).status();
  EXPECT_TRUE(IsUsageError(status)) << status;
  return std::string(status.message());
}

TEST(Flags, AllForms) {
  Values v;
  const auto rest =
      Parse({"a.bin", "-n", "64", "--output=x=y", "--watchdog-seconds", "2.5",
             "--json", "--bind", "a=1", "--bind=b=2", "-"},
            v);
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_THAT(*rest, ElementsAre("a.bin", "-"));
  EXPECT_EQ(v.count, 64);
  EXPECT_EQ(v.out, "x=y");
  EXPECT_EQ(v.seconds, 2.5);
  EXPECT_TRUE(v.json);
  EXPECT_THAT(v.binds, ElementsAre("a=1", "b=2"));
}

TEST(Flags, AbsentFlagsKeepTheirPlaces) {
  Values v;
  v.out = "-";
  ASSERT_TRUE(Parse({}, v).ok());
  EXPECT_EQ(v.out, "-");
  EXPECT_FALSE(v.count.has_value());
}

TEST(Flags, OneFlagUnderSeveralNames) {
  for (const char* name : {"--num_tokens", "-n", "--n", "--predict"}) {
    Values v;
    ASSERT_TRUE(Parse({name, "7"}, v).ok()) << name;
    EXPECT_EQ(v.count, 7) << name;
  }
  EXPECT_THAT(UsageErrorOf({"--predic", "7"}),
              HasSubstr("did you mean --predict?"));
  // Errors use the first.
  EXPECT_THAT(UsageErrorOf({"--predict", "x"}), HasSubstr("--num_tokens: "));
}

TEST(Flags, NegativeNumbersAreValues) {
  Values v;
  ASSERT_TRUE(Parse({"-n", "-3"}, v).ok());
  EXPECT_EQ(v.count, -3);
}

TEST(Flags, BooleansTakeAValueByEqualsOnly) {
  Values v;
  v.json = true;
  const auto rest = Parse({"--json=false", "x"}, v);
  ASSERT_TRUE(rest.ok());
  EXPECT_FALSE(v.json);
  EXPECT_THAT(*rest, ElementsAre("x"));
}

TEST(Flags, AfterTwoDashesNothingIsAFlag) {
  Values v;
  const auto rest = Parse({"--", "--json", "-n"}, v);
  ASSERT_TRUE(rest.ok());
  EXPECT_THAT(*rest, ElementsAre("--json", "-n"));
  EXPECT_FALSE(v.json);
}

TEST(Flags, UnknownFlagNamesTheNearest) {
  EXPECT_EQ(UsageErrorOf({"--num_tokes", "3"}),
            "unknown flag \"--num_tokes\"; did you mean --num_tokens? (mkvm "
            "verb --help lists them)");
  EXPECT_EQ(UsageErrorOf({"--zzzzzzzzzz"}),
            "unknown flag \"--zzzzzzzzzz\" (mkvm verb --help lists them)");
  EXPECT_THAT(UsageErrorOf({"-x"}), HasSubstr("unknown flag \"-x\""));
  // Long names need two dashes.
  EXPECT_THAT(UsageErrorOf({"-json"}), HasSubstr("did you mean --json?"));
}

TEST(Flags, BadValues) {
  EXPECT_EQ(UsageErrorOf({"-n", "many"}),
            "--num_tokens: \"many\" is not a whole number");
  EXPECT_EQ(UsageErrorOf({"-n", "99999999999999999999"}),
            "--num_tokens: \"99999999999999999999\" is not a whole number");
  EXPECT_EQ(UsageErrorOf({"--watchdog_seconds=soon"}),
            "--watchdog_seconds: \"soon\" is not a number");
  EXPECT_EQ(UsageErrorOf({"--json=perhaps"}),
            "--json: \"perhaps\" is not true or false");
  EXPECT_EQ(UsageErrorOf({"-o"}), "-o needs a value: -o FILE");
}

TEST(Flags, NumberOfPositionals) {
  EXPECT_EQ(UsageErrorOf({}, 1, 1),
            "an argument is missing; usage: mkvm verb ARGS");
  EXPECT_EQ(UsageErrorOf({"a", "b"}, 1, 1),
            "unexpected argument \"b\"; usage: mkvm verb ARGS");
}

TEST(Flags, HelpListsEveryFlag) {
  std::string out;
  Flags flags("verb", "Does it.");
  flags.Add("output,o,to", &out, "FILE", "first\nsecond");
  flags.Add("a_rather_long_name", &out, "A_LONG_VALUE", "help");
  EXPECT_EQ(flags.HelpText(),
            "usage: mkvm verb\n\nDoes it.\n\n"
            "  --output, -o, --to FILE    first\n"
            "                             second\n"
            "  --a_rather_long_name A_LONG_VALUE\n"
            "                             help\n");
  ASSERT_TRUE(flags.Parse({"--help"}, 1, 1).ok());
  EXPECT_TRUE(flags.help_wanted());
}

TEST(NearestName, PrefersFewestEdits) {
  EXPECT_EQ(NearestName("compil", {"run", "compile", "info"}), "compile");
  EXPECT_EQ(NearestName("rum", {"run", "asm"}), "run");
  EXPECT_EQ(NearestName("frobnicate", {"run", "asm"}), "");
}

TEST(ParseIds, SeparatorsAndErrors) {
  EXPECT_THAT(*ParseIds("1,2 3\n4,", "x"), ElementsAre(1, 2, 3, 4));
  EXPECT_TRUE(ParseIds("", "x")->empty());
  EXPECT_EQ(ParseIds("1,-2", "--ids").status().message(),
            "--ids: \"-2\" is not a token id");
  EXPECT_EQ(ParseIds("1,9999999999", "f").status().message(),
            "f: \"9999999999\" is not a token id");
}

}  // namespace
}  // namespace mkvm::cli
