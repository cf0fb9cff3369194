#include "isa/isa_docs.h"

#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mkvm::isa {
namespace {

using ::testing::HasSubstr;

TEST(IsaDocs, FileIsUpToDate) {
  std::ifstream file(MKVM_SOURCE_DIR "/docs/isa.md");
  ASSERT_TRUE(file.good());
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), IsaMarkdown()) << "to renew it: mkvm isa > docs/isa.md";
}

TEST(IsaDocs, SaysEverythingOfTheTable) {
  const std::string text = IsaMarkdown();
  for (const OpcodeInfo& info : AllOpcodes()) {
    const std::string section = OpcodeMarkdown(info);
    // The synopsis is broken into lines.
    EXPECT_THAT(absl::StrReplaceAll(section, {{"\n", " "}}),
                HasSubstr(std::string(info.synopsis)));
    EXPECT_THAT(text, HasSubstr(section.substr(0, section.size() - 1)));
    for (const OperandInfo& operand : info.operands) {
      EXPECT_THAT(section,
                  HasSubstr("| `" + std::string(operand.name) + "` |"));
    }
    for (absl::string_view requirement : info.requirements) {
      EXPECT_THAT(section, HasSubstr("- " + std::string(requirement) + "\n"));
    }
  }
}

}  // namespace
}  // namespace mkvm::isa
